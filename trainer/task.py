"""python -m trainer.task --data DATASET --output MODEL"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence

from trainer import devices
from trainer.config import DECAYS, INITIALIZATIONS, LOSSES, OPTIMIZERS, PRECISIONS, PRESETS, TrainerConfig
from trainer.console import Parser, importing, run


def parse(argv: Sequence[str]) -> TrainerConfig:
    """Parses the command line.

    Raises:
        UserError: a flag is unknown, or its value is of no use; the message names both.
    """
    parser = Parser(
        prog="python -m trainer.task",
        description="Trains word embeddings on a dataset of skip-grams and exports them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    defaults = {field.name: field.default for field in dataclasses.fields(TrainerConfig)}

    def add(name, kind, metavar, text):
        parser.add_argument(f"--{name}", type=kind, metavar=metavar, default=defaults[name], help=text)

    def choose(name, choices, text):
        parser.add_argument(f"--{name}", choices=choices, default=defaults[name], help=text)

    for name, metavar, text in (
        ("data", "DATASET", "the pipeline's output"),
        ("output", "MODEL", "the model directory"),
    ):
        parser.add_argument(f"--{name}", required=True, metavar=metavar, default=argparse.SUPPRESS, help=text)
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default="word2vec",
        help="where flags that are not given come from: tutorial is TensorFlow's word2vec tutorial",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the model that is there")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    add("embedding_dim", int, "D", "numbers in a vector")
    add("epochs", int, "N", "how often to go through the dataset")
    add("batch_size", int, "B", "examples in a step; 0: as many as hold 2048 targets")
    choose("initialization", INITIALIZATIONS, "of the tables: word2vec.c's, or keras.layers.Embedding's")
    choose("loss", LOSSES, "softmax, over a context word and its negatives, takes a dataset of pairs")
    choose("optimizer", OPTIMIZERS, "adam touches every row of the tables at every step")
    add("learning_rate", float, "R", "at the start")
    choose("decay", DECAYS, "whether the rate falls, to 0 at the end")
    choose("precision", PRECISIONS, "of matrix products; bfloat16 is used where the processor gains by it")
    add("seed", int, "N", "of the initial embeddings and the order of examples")
    add("checkpoint_minutes", float, "M", "time between checkpoints; there is one after every epoch as well")
    parser.set_defaults(**PRESETS[parser.parse_args(argv).preset])
    values = vars(parser.parse_args(argv))
    del values["preset"]  # it has only set others
    return TrainerConfig(**values)


def main(argv: Sequence[str]) -> None:
    """The command."""
    config = parse(argv)
    devices.prepare(config.precision)
    with importing():
        from trainer import training  # imports TensorFlow: not before the flags are known to be good

    metrics = training.train(config)
    print(
        f"{metrics['words_per_second']:,.0f} words/s, {metrics['skip_grams_per_second']:,.0f} skip-grams/s, "
        f"{metrics['input_wait_fraction']:.1%} of the time waiting for input"
    )
    for name, title in (("loss", "loss per skip-gram"), ("accuracy", "accuracy")):
        if name in metrics:
            print(f"{title} by epoch: {' '.join(f'{value:.4f}' for value in metrics[name])}")
    print(f"{config.output}: {' '.join(metrics['exports'])}")


if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:], "python -m trainer.task"))
