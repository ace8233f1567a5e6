"""Makes the model that a run trains: compiled and built, with batches of the right size."""

import keras
import tensorflow as tf

from trainer.config import TrainerConfig
from trainer.dataset import TARGETS_PER_BATCH, TARGETS_PER_BATCH_ON_GPU, Dataset
from trainer.errors import UserError
from trainer.formats import format_of
from trainer.group import Group
from trainer.manifest import Manifest
from trainer.model import SkipGram
from trainer.news import logger
from trainer.optimizer import RowwiseAdagrad

FEWEST_STEPS = 100  # a run with fewer steps is short, and the user is told so
# How many steps run between two calls of the callbacks, at most.
_STEPS_PER_EXECUTION = 16
_FUSED_STEPS_PER_EXECUTION = 64  # these steps are short
_FEWEST_CALLS = 100  # of the callbacks in a run, so that the curves of a short one have enough points, too
_STEPS_PER_SMALL_EPOCH = 16  # into how many batches a dataset is divided that has fewer of the usual size


def check_loss(config: TrainerConfig, dataset: Dataset) -> None:
    """Raises UserError if the examples of a dataset cannot be trained with --loss."""
    example_format = dataset.example_format
    if config.loss not in example_format.losses:
        raise UserError(
            f"--loss {config.loss}: --data {config.data} holds {example_format.name}, which can only be trained with "
            f"{' or '.join(example_format.losses)}; the pipeline's --example_format chooses the format"
        )


def batch_size(config: TrainerConfig, dataset: Dataset) -> int:
    """How many examples a step takes. A dataset that is smaller than one batch is divided into several.

    The first step changes the context embeddings alone, as these start at 0. So a run of one step would learn nothing.
    """
    fewest = max(1, dataset.num_examples // _STEPS_PER_SMALL_EPOCH)
    if not config.batch_size:
        return min(dataset.default_batch_size(bool(tf.config.get_visible_devices("GPU"))), fewest)
    if config.batch_size <= dataset.num_examples:
        return config.batch_size
    logger.warning(
        f"--batch_size {config.batch_size:,} is more than the dataset has, which is {dataset.num_examples:,} "
        f"{dataset.example_format.name}: a step takes {fewest:,}"
    )
    return fewest


def automatic_batch_sizes(manifest: Manifest) -> set[int]:
    """The sizes of a batch that the trainer may choose by itself for a dataset, on any machine."""
    num_examples = sum(shard.examples for shard in manifest.shards)
    targets = format_of(manifest).targets_per_example
    sizes = {max(1, size // targets) for size in (TARGETS_PER_BATCH, *TARGETS_PER_BATCH_ON_GPU)}
    fewest = max(1, num_examples // _STEPS_PER_SMALL_EPOCH)
    return {min(size, fewest) for size in sizes}


def build_model(config: TrainerConfig, dataset: Dataset, group: Group | None = None) -> tuple[SkipGram, int]:
    """Makes the model, compiled and built. Returns it with the number of steps in an epoch.

    Args:
        config: the settings.
        dataset: the dataset to train on.
        group: the processes that train together; the model has the columns of this one. None for all columns.
    """
    columns = (group or Group()).columns(config.embedding_dim)
    steps_per_epoch = dataset.steps_per_epoch(config.batch_size)
    model = SkipGram(
        dataset.vocab_size,
        config.embedding_dim,
        dataset.example_format,
        config.loss,
        config.initialization,
        config.seed,
        columns,
        config.step,
    )
    rate = config.learning_rate
    if config.decay == "linear":  # to 0, as in word2vec.c, over the exact number of steps
        rate = keras.optimizers.schedules.PolynomialDecay(rate, steps_per_epoch * config.epochs, end_learning_rate=0.0)
    optimizer = keras.optimizers.Adam(rate) if config.optimizer == "adam" else RowwiseAdagrad(rate, columns=columns)
    # With RowwiseAdagrad, the step compiles its own parts, so that its halves can run side by side. Adam goes through
    # whole tables, which is faster if the step is compiled as a whole.
    model.compile(optimizer, jit_compile=config.optimizer == "adam")
    most = _FUSED_STEPS_PER_EXECUTION if model.is_fused else _STEPS_PER_EXECUTION
    model.steps_per_execution = max(1, min(most, steps_per_epoch * config.epochs // _FEWEST_CALLS))
    model.optimizer.build(model.trainable_variables)
    if config.step == "fused" and model.obstacle:
        raise UserError(f"--step fused: {model.obstacle}; expected auto or tensorflow")
    return model, steps_per_epoch
