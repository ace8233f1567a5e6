"""TrainerConfig: the settings of one training run. It is frozen, and validated when it is made."""

import dataclasses
import os
import re
from typing import Any

from trainer.errors import UserError
from trainer.layout import (
    CHECKPOINTS_FOLDER,
    CONTEXT_VECTORS,
    COUNTS,
    DEFAULT_EXPORTS,
    EXPORTS,
    LOGS_FOLDER,
    REPORT_FILE,
    STATE_FOLDER,
    STATIC_EMBEDDING,
    VECTOR_SEARCH,
)
from trainer.settings import setting, validate

SCORES = {  # their names in metrics.json, and what they are, see trainer.scores
    "holdout_loss": "loss of held-out lines",
    "hit_rate_at_10": "hit rate at 10 of held-out lines",
    "word_pairs": "word pairs",
    "analogies": "analogies",
}
_ALL = "all"  # the value of --exports for all files

# The defaults that each preset changes.
PRESETS: dict[str, dict[str, Any]] = {
    "word2vec": {},
    # TensorFlow's word2vec tutorial. The learning rate is the default of Keras's Adam.
    "tutorial": {
        "loss": "softmax",
        "optimizer": "adam",
        "learning_rate": 0.001,
        "decay": "none",
        "initialization": "keras",
        "batch_size": 1024,
        "epochs": 20,
    },
}


@dataclasses.dataclass(frozen=True)
class TrainerConfig:
    """The settings of one training run. Each field is also a flag, and its help text says what it does.

    Raises:
        UserError: a value is not allowed; the message names the flag.
    """

    data: str = setting(
        help="the dataset directory that the pipeline wrote",
        group="files",
        metavar="DATASET",
        expected="a directory",
    )
    output: str = setting(
        help="the directory to write the model to",
        group="files",
        metavar="MODEL",
        expected="a directory",
    )
    overwrite: bool = setting(
        False,
        help="replace the model that is in --output; its vectors stay until the new ones are complete, but its logs "
        "and checkpoints are removed at the start",
        group="files",
    )
    resume: bool = setting(
        False,
        help="continue a run that was interrupted, from its last checkpoint; the number of --devices may be another",
        group="files",
    )
    checkpoint_dir: str = setting(
        "",
        help="the directory for the checkpoints, which are removed when the run has finished; if it is not given, they "
        "are in --output; all processes need to see the same directory",
        group="files",
        metavar="DIRECTORY",
        empty="in --output",
    )
    log_dir: str = setting(
        "",
        help="the directory for TensorBoard's files; if it is not given, they are in --output, and those of an earlier "
        "run are removed at the start",
        group="files",
        metavar="DIRECTORY",
        empty="in --output",
    )
    projector_words: int = setting(  # see trainer.projector
        10_000,
        low=0,
        high=1_000_000,
        help="how many words TensorBoard's Projector shows, which are the most frequent; 0 writes no files for it",
        group="files",
        metavar="N",
    )

    init: str = setting(
        "",
        help="what to start from: the --output of an earlier run, whose vectors, context vectors and optimizer's state "
        "go on, word by word; or a file of vectors in word2vec's or GloVe's formats, which gzip may have compressed; "
        "words that it does not have start as usual; with --resume, a checkpoint is used instead if there is one",
        group="files",
        metavar="PATH",
        empty="random vectors",
    )
    exports: str = setting(
        ",".join(DEFAULT_EXPORTS),
        help=f"which files to write, separated by commas, or all: {', '.join(EXPORTS)}; {CONTEXT_VECTORS} has the "
        f"vectors of words as context, {COUNTS} the counts of the words, {STATIC_EMBEDDING} is a folder for "
        f"sentence-transformers, and {VECTOR_SEARCH} one for Vertex AI Vector Search",
        group="files",
        metavar="NAMES",
        expected="names of files, separated by commas",
    )
    state: bool = setting(
        True,
        help=f"do not write {STATE_FOLDER}/, which a later run with --init needs; it holds both tables, so that it "
        "takes about twice the space of vectors.bin",
        group="files",
    )

    report: bool = setting(
        True,
        help=f"do not write {REPORT_FILE}, a page that shows what was trained on, how it went, and a map of the words; "
        "python -m trainer.report writes it later",
        group="files",
    )

    devices: str = setting(
        "1",
        help="on how many devices of this machine to train: a number, or all for every GPU; each device gets a process "
        "of its own, which holds a part of every vector; without a GPU, so many processes share the CPU; on several "
        "machines, the environment variable TF_CONFIG says where the others are",
        group="devices",
        metavar="N",
        expected="a whole number from 1 to 1024, or all",
    )
    wait_minutes: float = setting(
        1.0,
        low=0.01,
        high=1440,
        help="how many minutes a process waits for the others at the start, if several train together",
        group="devices",
        metavar="M",
    )

    embedding_dim: int = setting(  # D in shapes
        128,
        low=1,
        high=65536,
        help="how many numbers the vector of a word has",
        group="training",
        metavar="D",
    )
    epochs: int = setting(
        5,
        low=1,
        high=100_000,
        help="how many times to go through the dataset",
        group="training",
        metavar="N",
    )
    batch_size: int = setting(  # 4,096 targets are as fast as 2,048, but the vectors score less
        0,
        low=0,
        high=1_000_000,
        help="how many examples (blocks or pairs) a training step takes; 0 means as many as hold 2,048 targets, which "
        "are 32 blocks of 64 targets, but at most a 16th of the dataset; on a GPU, 0 means 4,096 or 8,192 targets if "
        "that leaves 3,200 steps in an epoch",
        group="training",
        metavar="B",
    )
    initialization: str = setting(  # see trainer.model
        "word2vec",
        choices=("word2vec", "keras"),
        help="how the vectors start: word2vec draws those of targets from -0.5/D to 0.5/D and sets those of context "
        "words to 0, as word2vec.c does; keras draws both from -0.05 to 0.05, as keras.layers.Embedding does",
        group="training",
    )
    loss: str = setting(
        "negative_sampling",
        choices=("negative_sampling", "softmax"),
        help="what to minimize: negative_sampling is the loss of word2vec.c; softmax is that of the tutorial, and "
        "needs a dataset that the pipeline made with --example_format pairs",
        group="training",
    )
    optimizer: str = setting(
        "rowwise_adagrad",
        choices=("rowwise_adagrad", "adam"),
        help="how to update the vectors: rowwise_adagrad changes only those that a step uses; adam goes through all "
        "vectors at every step, which is slow with a large vocabulary",
        group="training",
    )
    learning_rate: float = setting(
        0.2,
        low=1e-9,
        high=1e3,
        help="the learning rate at the start; it is Adagrad's, unless --optimizer says otherwise, and cannot be "
        "compared with gensim's 0.025; with --init, 0.05 keeps more of what an earlier run has learnt",
        group="training",
        metavar="R",
    )
    decay: str = setting(
        "linear",
        choices=("linear", "none"),
        help="how the learning rate changes: linear lowers it evenly to 0 at the end; none leaves it as it is",
        group="training",
    )
    precision: str = setting(  # see trainer.devices
        "bfloat16",
        choices=("bfloat16", "float32"),
        help="how TensorFlow computes matrix products: bfloat16 rounds their factors to bfloat16 if the processor has "
        "fast instructions for that, and does the same as float32 if not; float32 does not round them; the fused step "
        "never rounds them",
        group="training",
    )
    step: str = setting(  # see trainer.fused
        "auto",
        choices=("auto", "fused", "tensorflow"),
        help="how to compute a training step: fused is one compiled function, which trains blocks on a CPU about twice "
        "as fast as TensorFlow's operations; tensorflow is these operations; auto is fused where it can be used and is "
        "faster; the vectors are the same but for rounding",
        group="training",
    )
    seed: int = setting(
        1,
        low=0,
        high=2**31 - 1,
        help="the number that the random draws depend on: those of the first vectors and of the order of examples; on "
        "a CPU the same dataset, flags and seed give the same vectors",
        group="training",
        metavar="N",
    )
    word_pairs: str = setting(
        "",
        help="a file with people's ratings of the similarity of two words, on which the vectors are scored after every "
        "epoch; a line is word<TAB>word<TAB>rating",
        group="scores",
        metavar="FILE",
        empty="none",
    )
    analogies: str = setting(
        "",
        help="a file of analogies such as questions-words.txt, on which the vectors are scored after every epoch; a "
        "line is four words, or a title after a colon",
        group="scores",
        metavar="FILE",
        empty="none",
    )
    patience: int = setting(  # see trainer.scores
        0,
        low=0,
        high=100_000,
        help="stop after N epochs in which the score has become no better, and keep the vectors of the best epoch; 0 "
        "never stops early",
        group="scores",
        metavar="N",
    )
    patience_score: str = setting(
        "auto",
        choices=("auto", *SCORES),
        help="the score that --patience goes by: holdout_loss is the loss of the dataset's held-out lines; "
        "hit_rate_at_10 is the share of these lines whose last item is among the 10 best, which suits sessions of "
        "items; word_pairs and analogies are the scores on these files; auto is the first that there is",
        group="scores",
    )
    checkpoint_minutes: float = setting(
        10.0,
        low=0,
        high=1e6,
        help="how many minutes pass between checkpoints, which --resume continues from; there is also one after every "
        "epoch",
        group="training",
        metavar="M",
    )

    def __post_init__(self) -> None:
        validate(self)
        if not re.fullmatch(r"all|0*[1-9][0-9]{0,2}|0*10[01][0-9]|0*102[0-4]", self.devices, re.ASCII):
            raise UserError(f"--devices {self.devices!r}: expected a whole number from 1 to 1024, or all")
        for name in self.exports.split(","):
            if name not in (*EXPORTS, _ALL):
                raise UserError(
                    f"--exports {self.exports}: there is no export {name!r}: expected {_ALL}, or some of "
                    f"{', '.join(EXPORTS)}, with commas between them"
                )
        output = _absolute(self.output)
        for flag, directory, folder in (
            ("--checkpoint_dir", self.checkpoint_dir, CHECKPOINTS_FOLDER),
            ("--log_dir", self.log_dir, LOGS_FOLDER),
        ):
            place = _absolute(directory) if directory else f"{output}/{folder}"
            if f"{place}/".startswith(f"{output}/") and place != f"{output}/{folder}":
                raise UserError(
                    f"{flag} {directory}: expected a directory outside of --output, or {folder} in it, which is the "
                    "default"
                )
        if self.overwrite and self.resume:
            raise UserError("--overwrite and --resume contradict each other: give one of them")

    @property
    def names_of_exports(self) -> tuple[str, ...]:
        """The names of the files to export, of trainer.layout.EXPORTS."""
        names = self.exports.split(",")
        return tuple(name for name in EXPORTS if name in names or _ALL in names)


def _absolute(path: str) -> str:
    """A path without a slash at its end; local ones begin with one."""
    return path.rstrip("/") if "://" in path else os.path.abspath(path)
