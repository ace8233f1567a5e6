"""Command-line flags -> PipelineConfig and Beam's own flags."""

import argparse
import difflib
from collections.abc import Sequence
from typing import NamedTuple

from pipeline import worker
from pipeline.config import PRESETS, PipelineConfig
from pipeline.console import Parser
from pipeline.errors import UserError
from pipeline.settings import Setting, add_flags, settings_of

# All flags that set something. --plan and --quiet are not among them, because the dataset does not depend on them.
SETTINGS = (
    Setting(
        name="preset",
        default="word2vec",
        choices=tuple(PRESETS),
        help="which set of defaults to use: those of word2vec.c and gensim, or those of TensorFlow's word2vec "
        "tutorial; the other flags override them",
    ),
    *settings_of(PipelineConfig),
)


class Arguments(NamedTuple):
    """What the command line says."""

    config: PipelineConfig
    beam_flags: list[str]
    plan: bool  # whether to estimate what a run would come to, instead of running
    plan_share: float | None  # the share of the text to estimate from; None if it is not given
    quiet: bool = False  # whether to print nothing but warnings and errors


def parse(argv: Sequence[str]) -> Arguments:
    """Parses the command line.

    Args:
        argv: the arguments, without the program's name.

    Raises:
        UserError: a flag is unknown or its value is not allowed; the message names both.
    """
    parser = flag_parser()
    known, _ = parser.parse_known_args(argv)
    parser.set_defaults(**PRESETS[known.preset])
    known, others = parser.parse_known_args(argv)
    _check_beam_flags(others)
    values = vars(known)
    del values["preset"]  # it has set the defaults of the others
    plan, quiet = values.pop("plan"), values.pop("quiet")
    config = PipelineConfig(**{**values, "input": tuple(known.input)})
    return Arguments(config, others, plan is not None, plan or None, quiet)


def flag_parser() -> argparse.ArgumentParser:
    """The parser of the pipeline's own flags."""
    parser = Parser(
        prog="python -m pipeline",
        description="Turns text files into a dataset of skip-grams with negative samples.",
        epilog="All other flags are Beam's. --runner=DataflowRunner, for example, runs the job on Google Cloud. On "
        "this machine, a large text gets a worker process for each core, and --direct_num_workers=8 starts 8.",
    )
    parser.add_argument(
        "--plan",
        nargs="?",
        type=_share,
        const=0.0,
        metavar="SHARE",
        help="write nothing, but read a share of the text (by default 0.05, and 64 MiB at most) and estimate from it "
        "how large the dataset will be, how long workers take to make it, and how much memory the trainer needs",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print nothing but warnings and errors; --plan still prints the plan"
    )
    add_flags(parser, SETTINGS, PRESETS)
    return parser


def _share(text: str) -> float:
    """Turns the value of --plan into a number."""
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a share of the text above 0, and 1 at most")
    return share


def _check_beam_flags(flags: list[str]) -> None:
    """Raises UserError for a flag that Beam does not know either, because Beam itself would ignore it silently."""
    if not flags:
        return
    worker.check_memory()
    from apache_beam.options.pipeline_options import PipelineOptions  # takes a second, and is only needed here
    from apache_beam.runners import create_runner

    beam_parser = Parser(add_help=False, conflict_handler="resolve")
    for options in PipelineOptions.__subclasses__():
        if not options.__module__.startswith("pipeline."):  # the pipeline's own flags are not among these flags
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
