"""TrainerConfig: what a training run is told, validated and frozen."""

import dataclasses

from trainer.errors import UserError

LOSSES = ("negative_sampling", "softmax")
OPTIMIZERS = ("rowwise_adagrad", "adam")
DECAYS = ("linear", "none")
INITIALIZATIONS = ("word2vec", "keras")
PRECISIONS = ("bfloat16", "float32")

# What a preset changes of the defaults.
PRESETS = {
    "word2vec": {},
    # TensorFlow's word2vec tutorial; the rate is that of Keras's Adam.
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
    """The settings of one training run. Fields are the flags of the same names.

    Raises:
        UserError: a value is out of its range; the message names the flag.
    """

    data: str  # the dataset directory, as the pipeline wrote it
    output: str  # the model directory
    overwrite: bool = False  # replace the model that is there
    resume: bool = False  # go on from the last checkpoint in `output`

    embedding_dim: int = 128  # D
    epochs: int = 5  # how often the dataset is gone through
    batch_size: int = 0  # examples a step; 0: 2,048 targets, 32 blocks of 64; 4,096 are as fast, but score less
    initialization: str = "word2vec"  # one of INITIALIZATIONS, see trainer.model
    loss: str = "negative_sampling"  # one of LOSSES
    optimizer: str = "rowwise_adagrad"  # one of OPTIMIZERS
    learning_rate: float = 0.2  # at the start
    decay: str = "linear"  # of the rate, to 0 at the end, or none
    precision: str = "bfloat16"  # of matrix products, see trainer.devices
    seed: int = 1  # of the initial embeddings and of the order of examples
    checkpoint_minutes: float = 10.0  # time between checkpoints; there is one after every epoch as well

    def __post_init__(self):
        for name, choices in (
            ("initialization", INITIALIZATIONS),
            ("loss", LOSSES),
            ("optimizer", OPTIMIZERS),
            ("decay", DECAYS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in choices:
                raise UserError(f"--{name} {getattr(self, name)!r}: expected one of {', '.join(choices)}")
        for name in ("data", "output"):
            if not getattr(self, name):
                raise UserError(f"--{name} is empty: expected a directory")
        for name, low, high in (
            ("embedding_dim", 1, 65536),
            ("epochs", 1, 100_000),
            ("batch_size", 0, 1_000_000),
            ("learning_rate", 1e-9, 1e3),
            ("seed", 0, 2**31 - 1),
            ("checkpoint_minutes", 0, 1e6),
        ):
            if not low <= getattr(self, name) <= high:
                raise UserError(f"--{name} {getattr(self, name)}: expected a number from {low} to {high}")
        if self.overwrite and self.resume:
            raise UserError("--overwrite and --resume contradict each other: give one of them")
