"""Command-line flags -> PipelineConfig and Beam's own flags."""

import argparse
import dataclasses
import difflib
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.config import (
    COMPRESSIONS,
    EXAMPLE_FORMATS,
    NOISES,
    OOV,
    PRESETS,
    SUBSAMPLINGS,
    TOKENIZERS,
    PipelineConfig,
)
from pipeline.console import Parser
from pipeline.errors import UserError


class Arguments(NamedTuple):
    """What the command line says."""

    config: PipelineConfig
    beam_flags: list[str]
    plan: bool  # whether a plan is wanted, and no run
    plan_share: float | None  # of the text that it is made from; None: as the plan likes


def parse(argv: Sequence[str]) -> Arguments:
    """Parses the command line.

    Args:
        argv: the arguments, without the program's name.

    Raises:
        UserError: a flag is unknown, or its value is of no use; the message names both.
    """
    parser = flag_parser()
    known, _ = parser.parse_known_args(argv)
    parser.set_defaults(**PRESETS[known.preset])
    known, others = parser.parse_known_args(argv)
    _check_beam_flags(others)
    values = vars(known)
    del values["preset"]  # it has only set others
    plan = values.pop("plan")
    config = PipelineConfig(**{**values, "input": tuple(known.input)})
    return Arguments(config, others, plan is not None, plan or None)


def flag_parser() -> argparse.ArgumentParser:
    """The parser of the pipeline's own flags."""
    parser = Parser(
        prog="python -m pipeline",
        description="Turns text files into a dataset of skip-grams with negative samples.",
        epilog="All other flags are Beam's, such as --runner=DataflowRunner, or for several workers on this machine "
        "--direct_num_workers=8 --direct_running_mode=multi_processing.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default="word2vec",
        help="where flags that are not given come from: word2vec.c, or TensorFlow's word2vec tutorial",
    )
    parser.add_argument(
        "--plan",
        nargs="?",
        type=_share,
        const=0.0,
        metavar="SHARE",
        help="run nothing, but estimate from a share of the text (0.05, if none is given) what a run would come to",
    )
    defaults = {field.name: field.default for field in dataclasses.fields(PipelineConfig)}

    def add(group, name, kind, metavar, text):
        group.add_argument(f"--{name}", type=kind, metavar=metavar, default=defaults[name], help=text)

    def choose(group, name, choices, text):
        group.add_argument(f"--{name}", choices=choices, default=defaults[name], help=text)

    files = parser.add_argument_group("files")
    files.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="GLOB",
        default=argparse.SUPPRESS,
        help="text files (plain, .gz, .bz2), a sentence or document a line",
    )
    files.add_argument(
        "--output", required=True, metavar="DATASET", default=argparse.SUPPRESS, help="the dataset directory"
    )
    files.add_argument("--overwrite", action="store_true", help="replace the dataset that is there")
    add(files, "num_shards", int, "N", "files to write, and the most workers that can write examples at once")
    choose(files, "compression", COMPRESSIONS, "of the shards")
    choose(files, "example_format", EXAMPLE_FORMATS, "blocks, or a target with its context and negatives each: pairs")

    words = parser.add_argument_group("vocabulary")
    choose(words, "tokenizer", TOKENIZERS, "simple: lower case, no punctuation; whitespace: tokens as they are")
    add(words, "vocab_size", int, "N", "number of ids, [PAD] and [UNK] included; 0: no limit")
    add(words, "min_count", int, "N", "rarer words are left out")
    choose(words, "oov", OOV, "words out of the vocabulary are dropped, or trained as one word, [UNK]")

    draws = parser.add_argument_group("skip-grams")
    add(draws, "sequence_length", int, "N", "a line of more words goes on as a new sequence; 0: only past 1000")
    add(draws, "window_size", int, "W", "largest distance between target and context, in words")
    draws.add_argument(
        "--no_shrink_windows",
        dest="shrink_windows",
        action="store_false",
        help="let all words of the window count the same; else the nearer count more, as by radii drawn from 1..W",
    )
    add(draws, "subsample", float, "T", "threshold above which frequent words are thinned; 0: never")
    choose(draws, "subsampling", SUBSAMPLINGS, "counts: frequent words leave the text; zipf: they are fewer targets")
    add(draws, "num_negatives", int, "K", "negative samples per skip-gram")
    choose(draws, "negatives", NOISES, "noise distribution: count ** X, or log-uniform over the ids")
    add(draws, "ns_exponent", float, "X", "the exponent of --negatives unigram")
    add(draws, "passes", int, "N", "how often to go through the corpus, each time with new draws")
    add(draws, "block_targets", int, "S", "targets of a block")
    add(draws, "block_negatives", int, "N", "negative samples that the targets of a block share")
    add(draws, "seed", int, "N", "of every random draw")
    return parser


def _share(text: str) -> float:
    """The type of --plan."""
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a share of the text above 0, and 1 at most")
    return share


def _check_beam_flags(flags: list[str]) -> None:
    """Raises UserError for a flag that Beam does not have either: Beam itself lets it pass without a word."""
    if not flags:
        return
    from apache_beam.options.pipeline_options import PipelineOptions  # takes a second, and is only needed here
    from apache_beam.runners import create_runner

    beam_parser = Parser(add_help=False, conflict_handler="resolve")
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(beam_parser)
    known, unknown = beam_parser.parse_known_args(flags)
    if unknown:
        flag = unknown[0].split("=")[0]
        names = [name for names_of in (flag_parser(), beam_parser) for name in names_of._option_string_actions]
        close = difflib.get_close_matches(flag, names, 1)
        raise UserError(f"unknown argument {unknown[0]}" + (f": did you mean {close[0]}?" if close else ""))
    try:
        create_runner(known.runner or "DirectRunner")
    except (ImportError, ValueError) as error:
        raise UserError(f"--runner {known.runner}: {error}".splitlines()[0]) from error
