"""How fast and how good this project is beside gensim and pWord2Vec, on the same machine and the same text.

    python -m tests.benchmarks.word2vec --corpus english.txt
    python -m tests.benchmarks.word2vec pipeline --corpus english.txt
    python -m tests.benchmarks.word2vec step
    python -m tests.benchmarks.word2vec input --corpus english.txt
    python -m tests.benchmarks.word2vec devices

The first command is `compare`, and needs `pip install '.[bench]'`. It measures pWord2Vec only if `--pword2vec` has the
path of its program. Each command prints a line that names the machine, and a table with medians and in brackets the
lowest and the highest figure. It also writes all figures of all runs to a JSON file. Programs that are compared take
turns, so a machine that slows down does so for all of them. The machine should have nothing else to do. Temporary files
go to the directory in TMPDIR. The command `pipeline` writes 41 times the corpus there.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# These import neither TensorFlow nor gensim, see processes.execute.
from tests.benchmarks import compare, devices, measurements, processes, pword2vec
from tests.benchmarks.report import document, headline, table
from trainer.console import Parser, run
from trainer.errors import UserError

_COMMANDS = {
    "compare": compare.compare,
    "pipeline": measurements.pipeline,
    "step": measurements.step,
    "input": measurements.input_stream,
    "devices": devices.devices,
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses the command line.

    Raises:
        UserError: a flag is unknown, or its value is of no use; the message names both.
    """
    parser = Parser(
        prog="python -m tests.benchmarks.word2vec",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name, text, **defaults):
        subparser = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        subparser.set_defaults(**defaults)  # which the help does not show
        add = subparser.add_argument
        add("--output", metavar="FILE", default=f"word2vec-{name}.json", help="the JSON file to write all figures to")
        add("--pipeline_flags", default="", metavar="FLAGS", help="further flags for the pipeline, in one string")
        return add

    def add_corpus(add):
        add(
            "--corpus", required=True, metavar="FILE", default=argparse.SUPPRESS, help="UTF-8 text, one sentence a line"
        )

    def add_number(add, name, default, text, **kwargs):
        add(f"--{name}", type=_positive, default=default, metavar="N", help=text, **kwargs)

    def add_trainer_flags(add):
        add("--trainer_flags", default="", metavar="FLAGS", help="further flags for the trainer, in one string")

    def add_training(add):
        add_number(add, "epochs", 5, "how many times to go through the text")
        add_trainer_flags(add)

    text = "measure speed and quality beside gensim, and pWord2Vec if it is given (the default command)"
    add = command("compare", text, pword2vec=None, first_words=None)
    add_corpus(add)
    text = "compare on the first N words of the corpus as well; if it is not given, only on the whole corpus"
    add_number(add, "first_words", argparse.SUPPRESS, text)
    text = "the program pWord2Vec, which you have built; if it is not given, gensim is the only peer"
    add("--pword2vec", metavar="PATH", default=argparse.SUPPRESS, help=text)
    add_training(add)
    add_number(add, "seeds", [1, 2, 3], "run all programs once with each of these seeds", nargs="+")
    add_number(add, "workers", os.cpu_count(), "how many threads gensim and pWord2Vec use")

    add = command("pipeline", "measure the pipeline alone, on the text repeated several times")
    add_corpus(add)
    add_number(add, "runs", 3, "how many times to time each")
    add_number(add, "times", [1, 10, 30], "how many times to repeat the text", nargs="+")
    add_number(add, "min_count", 5, "--min_count for the text itself; N repetitions have N times that")

    add = command("step", "measure a training step with a small and a large vocabulary, on made-up text")
    add_number(add, "runs", 5, "how many times to time each")
    add_number(add, "vocab_sizes", [72_000, 4_000_000], "rows of the tables, the smaller number first", nargs=2)
    add_number(add, "words", 3_000_000, "how many words the text has; each run goes through it once")
    add_trainer_flags(add)

    add = command("input", "measure the trainer's input alone, and the training")
    add_corpus(add)
    add_training(add)
    add_number(add, "runs", 3, "how many times to time each")

    text = "measure the training on 1, 2, 4 and more GPUs, or in as many CPU processes if there is no GPU"
    add = command("devices", text, corpus=None, devices=None)
    text = "UTF-8 text, one sentence a line; if it is not given, the words are made up"
    add("--corpus", metavar="FILE", default=argparse.SUPPRESS, help=text)
    add_training(add)
    add_number(add, "runs", 3, "how many times to time each")
    text = "on how many devices to train; if it is not given, on 1, 2, 4 and so on, up to all GPUs or, where there is "
    text += "none, up to a CPU process for each core, at most 8"
    add_number(add, "devices", argparse.SUPPRESS, text, nargs="+")
    add_number(add, "embedding_dim", 128, "how many numbers the vector of a word has, for all devices together")
    add_number(add, "vocab_size", 72_000, "how many words the vocabulary has, if they are made up")
    add_number(add, "words", 3_000_000, "how many words the text has, if they are made up")

    argv = list(argv)
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv.insert(0, "compare")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1")
    return int(text)


def check(args: argparse.Namespace) -> None:
    """Raises UserError for mistakes that would otherwise be found only after minutes."""
    if getattr(args, "corpus", None):
        if not os.path.isfile(args.corpus):
            raise UserError(f"--corpus {args.corpus} is not there: expected a text file")
        if not os.path.getsize(args.corpus):
            raise UserError(f"--corpus {args.corpus} is empty")
    folder = os.path.dirname(args.output) or "."
    if os.path.isdir(args.output) or not os.access(folder, os.W_OK):
        raise UserError(f"--output {args.output} cannot be written: expected a file in a directory that is there")
    if args.command == "compare" and importlib.util.find_spec("gensim") is None:
        raise UserError("gensim is not installed: pip install '.[bench]'")
    if hasattr(args, "trainer_flags"):
        processes.config_of(args.trainer_flags)
    if getattr(args, "pword2vec", None):
        pword2vec.check(args.pword2vec)
    if args.command == "devices":
        _check_devices(args)


def _check_devices(args: argparse.Namespace) -> None:
    if args.vocab_size < 4:
        raise UserError(f"--vocab_size {args.vocab_size}: expected 4 or more, since [PAD] and [UNK] count, too")
    if args.devices and max(args.devices) > args.embedding_dim:
        raise UserError(
            f"--devices {max(args.devices)}: expected at most --embedding_dim {args.embedding_dim}, since the devices "
            "divide the numbers of a vector among each other"
        )
    if os.environ.get("TF_CONFIG"):
        raise UserError("the environment variable TF_CONFIG is set, but this command measures one machine: unset it")


def main(argv: Sequence[str]) -> None:
    """The command."""
    args = parse(argv)
    check(args)
    for name in ("corpus", "pword2vec"):
        if getattr(args, name, None):
            setattr(args, name, os.path.abspath(getattr(args, name)))
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # they would tune gensim's BLAS for another machine
        os.environ.pop(name, None)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    gpus = []
    if args.command == "devices":
        gpus = args.gpus = devices.gpus()
        args.devices = devices.device_numbers(args.devices, len(gpus), os.cpu_count() or 1)
    else:  # gensim cannot use a GPU, so all programs run on the CPU
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with tempfile.TemporaryDirectory() as directory:
        figures, runs = _COMMANDS[args.command](args, Path(directory))
    settings = {name: value for name, value in vars(args).items() if name not in ("command", "output")}
    with open(args.output, "w") as file:
        contents = document(args.command, settings, runs, figures, gpus)
        json.dump(contents, file, indent=1)
        file.write("\n")
    print(headline(contents["machine"]))
    print(table(figures))
    print(f"all figures: {args.output}")


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:], "python -m tests.benchmarks.word2vec"))
