"""python -m trainer.task --data DATASET --output MODEL"""

from trainer import interrupt

_NAME = "python -m trainer.task"
_AFTER_INTERRUPTION = "the same command with --resume goes on from the last checkpoint, if there is one"
if __name__ == "__main__":
    interrupt.install(_NAME, _AFTER_INTERRUPTION)  # already now, because the imports take a tenth of a second

import argparse
import atexit
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from trainer import cluster, devices, files, launcher, limits
from trainer.config import PRESETS, SCORES, TrainerConfig
from trainer.console import Parser, importing, run
from trainer.layout import REPORT_FILE
from trainer.settings import Setting, add_flags, settings_of

# All flags that set something. --quiet is not among them, because the model does not depend on it.
SETTINGS = (
    Setting(
        name="preset",
        default="word2vec",
        choices=tuple(PRESETS),
        help="which set of defaults to use: this project's own, or those of TensorFlow's word2vec tutorial; the other "
        "flags override them",
    ),
    *settings_of(TrainerConfig),
)


# The environment variables that give a directory, where the flag does not.
DIRECTORIES = {
    "AIP_MODEL_DIR": "output",
    "AIP_CHECKPOINT_DIR": "checkpoint_dir",
    "AIP_TENSORBOARD_LOG_DIR": "log_dir",
}
# The lists in metrics.json that have a number for each epoch, and what they are.
_TITLES = {"loss": "loss per skip-gram", "accuracy": "accuracy", **SCORES}


def parse(argv: Sequence[str]) -> TrainerConfig:
    """The settings of a command line, see `parse_all`."""
    return parse_all(argv)[0]


def parse_all(argv: Sequence[str]) -> tuple[TrainerConfig, bool]:
    """Parses the command line.

    Returns:
        The settings, and whether --quiet is given.

    Raises:
        UserError: a flag is unknown or its value is not allowed; the message names both.
    """
    # Vertex AI names directories in the environment. A flag that is given comes later, and so wins.
    argv = [*(f"--{name}={os.environ[key]}" for key, name in DIRECTORIES.items() if os.environ.get(key)), *argv]
    parser = flag_parser()
    parser.set_defaults(**PRESETS[parser.parse_args(argv).preset])
    values = vars(parser.parse_args(argv))
    del values["preset"]  # it has set the defaults of the others
    quiet = values.pop("quiet")
    return TrainerConfig(**values), quiet


def flag_parser() -> argparse.ArgumentParser:
    """The parser of the trainer's flags."""
    parser = Parser(
        prog=_NAME,
        description="Trains word embeddings on a dataset of skip-grams and exports them.",
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    add_flags(parser, SETTINGS, PRESETS)
    return parser


def main(argv: Sequence[str], news_stream: TextIO | None) -> None:
    """Trains as the flags say, and prints a summary.

    Args:
        argv: the arguments, without the program's name.
        news_stream: where news are written; None for nowhere.
    """
    config, quiet = parse_all(argv)
    if processes := launcher.processes_to_start(config, os.environ):
        return launcher.launch(config, processes, news=2, quiet=quiet)
    devices.prepare(config.precision)
    limits.check_addresses("the trainer")
    process = cluster.process_of(os.environ)
    is_chief = not process or process.rank == 0
    from trainer import news  # takes some hundredths of a second

    with news.written_to(news_stream if is_chief else None, quiet):
        news.show("loading TensorFlow")
        with importing():
            from trainer import training  # imports TensorFlow: not before the flags are known to be good

        metrics = training.train(config, process)
    if is_chief and not quiet:
        _print(config, metrics)


def _print(config: TrainerConfig, metrics: dict[str, Any]) -> None:
    """Prints what a run has come to."""
    print(
        f"{metrics['words_per_second']:,.0f} words/s, {metrics['skip_grams_per_second']:,.0f} skip-grams/s, "
        f"{metrics['input_wait_fraction']:.1%} of the time waiting for input"
    )
    for name, title in _TITLES.items():
        if name in metrics:
            print(f"{title} by epoch: {' '.join(f'{value:.4f}' for value in metrics[name])}")
    print(f"{config.output}: {' '.join(metrics['exports'])}")
    if files.exists(report := os.path.join(config.output, REPORT_FILE)):
        print(f"report: {report}")


def command(news_stream: TextIO | None) -> int:
    """Runs the command with the arguments of this process, and returns the exit code if it does not end the process.

    Args:
        news_stream: where news are written; None for nowhere.
    """
    code = run(lambda argv: main(argv, news_stream), sys.argv[1:], _NAME, _AFTER_INTERRUPTION)
    # After a success, all is written, and it would take Python a fifth of a second to free what TensorFlow has made.
    # After the failure of one of several processes, TensorFlow might wait for the others.
    if not code or os.environ.get(cluster.VARIABLE):
        atexit._run_exitfuncs()  # TensorFlow's remove its temporary files
        with contextlib.suppress(OSError):  # what reads the output has stopped reading
            sys.stdout.flush()
        os._exit(code)
    return code


def console_script() -> int:
    """The console script word2vec-train."""
    return command(sys.stderr)


if __name__ == "__main__":
    sys.exit(command(sys.stderr))
