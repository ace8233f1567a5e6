"""One training run, from a dataset to exported embeddings."""

import dataclasses
import json
import os
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow.io import gfile

from trainer.callbacks import Progress, Throughput
from trainer.checkpoints import Checkpoints, Position, SaveCheckpoints
from trainer.config import TrainerConfig
from trainer.dataset import Dataset, epoch_batches, open_dataset
from trainer.errors import UserError
from trainer.export import export
from trainer.layout import LOGS_FOLDER, METRICS_FILE, TEMPORARY_SUFFIX
from trainer.model import SkipGram
from trainer.optimizer import RowwiseAdagrad
from trainer.preflight import check_output

_STEPS_PER_EXECUTION = 16  # how many steps run between two calls of the callbacks


def train(config: TrainerConfig, *, verbose: bool = False) -> dict[str, Any]:
    """Trains embeddings on a dataset and exports them.

    Args:
        config: the settings. The dataset is read from config.data, and the model is written to config.output.
        verbose: whether to print the progress. If not, nothing is printed.

    Returns:
        The contents of metrics.json: the loss and, for pairs, the accuracy after each epoch; train_seconds and
        export_seconds; words_per_second, skip_grams_per_second and input_wait_fraction; steps_per_epoch,
        skip_grams_per_epoch and vocab_size; exports, which are the names of the files; config and versions.

    Raises:
        UserError: the dataset is incomplete or does not fit the loss, or the model directory is in use.
        trainer.word2vec_format.ExportError: an exported file that was read back differs from what was written.
    """
    say = print if verbose else _say_nothing
    dataset = open_dataset(config.data)
    _check_loss(config, dataset)
    config = dataclasses.replace(config, batch_size=config.batch_size or dataset.default_batch_size)
    check_output(config)
    model, steps_per_epoch = build_model(config, dataset)
    checkpoints = Checkpoints(model, config.output)
    position = _start_or_resume(config, dataset, checkpoints, say)
    if position.epoch or position.step:
        say(f"going on from epoch {position.epoch + 1}, step {position.step:,} of {steps_per_epoch:,}")

    device = (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))[0]
    say(
        f"training {dataset.vocab_size:,} x {config.embedding_dim} on {dataset.skip_grams_per_epoch:,} skip-grams: "
        f"{config.epochs} x {steps_per_epoch:,} steps on {device.device_type}"
    )
    throughput = Throughput(dataset, steps_per_epoch)
    log_dir = os.path.join(config.output, LOGS_FOLDER)
    callbacks = [
        SaveCheckpoints(checkpoints, position, config.checkpoint_minutes),
        Progress(throughput, dataset.example_format, config.epochs, steps_per_epoch, log_dir, verbose),
    ]
    for epoch in range(position.epoch, config.epochs):
        model.fit(
            epoch_batches(dataset, config.batch_size, config.seed, epoch, skip_steps=position.step),
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=steps_per_epoch - position.step,
            shuffle=False,  # epoch_batches shuffles
            verbose=0,
            callbacks=callbacks,
        )

    metrics_file = os.path.join(config.output, METRICS_FILE)
    if gfile.exists(metrics_file):  # from now on, the directory holds no complete model
        gfile.remove(metrics_file)
    start = time.perf_counter()
    names = export(dataset, model.target_embeddings.numpy(), config.output)
    metrics = {
        **position.history,
        "train_seconds": round(position.train_seconds, 3),
        **throughput.rates,
        "export_seconds": round(time.perf_counter() - start, 3),
        "steps_per_epoch": steps_per_epoch,
        "skip_grams_per_epoch": dataset.skip_grams_per_epoch,
        "vocab_size": dataset.vocab_size,
        "exports": names,
        "config": dataclasses.asdict(config),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
    }
    with gfile.GFile(metrics_file + TEMPORARY_SUFFIX, "w") as file:
        file.write(json.dumps(metrics, indent=1) + "\n")
    gfile.rename(metrics_file + TEMPORARY_SUFFIX, metrics_file, overwrite=True)
    checkpoints.remove()
    return metrics


def build_model(config: TrainerConfig, dataset: Dataset) -> tuple[SkipGram, int]:
    """Makes the model, compiled and built. Returns it with the number of steps in an epoch."""
    steps_per_epoch = dataset.steps_per_epoch(config.batch_size)
    model = SkipGram(
        dataset.vocab_size,
        config.embedding_dim,
        dataset.example_format,
        config.loss,
        config.initialization,
        config.seed,
    )
    rate = config.learning_rate
    if config.decay == "linear":  # to 0, as in word2vec.c, over the exact number of steps
        rate = keras.optimizers.schedules.PolynomialDecay(rate, steps_per_epoch * config.epochs, end_learning_rate=0.0)
    optimizer = {"rowwise_adagrad": RowwiseAdagrad, "adam": keras.optimizers.Adam}[config.optimizer](rate)
    # With RowwiseAdagrad, the step compiles its own parts, so that its halves can run side by side. Adam goes through
    # whole tables, which is faster if the step is compiled as a whole.
    model.compile(optimizer, jit_compile=config.optimizer == "adam", steps_per_execution=_STEPS_PER_EXECUTION)
    model.optimizer.build(model.trainable_variables)
    return model, steps_per_epoch


def _say_nothing(text: str) -> None:
    pass


def _check_loss(config: TrainerConfig, dataset: Dataset) -> None:
    example_format = dataset.example_format
    if config.loss not in example_format.losses:
        raise UserError(
            f"--loss {config.loss}: --data {config.data} holds {example_format.name}, which can only be trained with "
            f"{' or '.join(example_format.losses)}; the pipeline's --example_format chooses the format"
        )


def _start_or_resume(
    config: TrainerConfig, dataset: Dataset, checkpoints: Checkpoints, say: Callable[[str], None]
) -> Position:
    """Restores the last checkpoint if --resume is set and there is one. Otherwise removes what an earlier run left."""
    settings = _settings(config, dataset)
    if config.resume:
        if position := checkpoints.restore(settings):
            return position
        say(f"no checkpoint in {config.output}: starting from the beginning")
    checkpoints.start(settings)
    if gfile.exists(logs := os.path.join(config.output, LOGS_FOLDER)):
        gfile.rmtree(logs)
    return Position()


def _settings(config: TrainerConfig, dataset: Dataset) -> dict[str, Any]:
    """The settings that a run must share with the interrupted run that it resumes, by the name for messages."""
    may_differ = {"data", "output", "overwrite", "resume", "checkpoint_minutes"}
    names = sorted({field.name for field in dataclasses.fields(config)} - may_differ)
    return {
        **{f"--{name}": getattr(config, name) for name in names},
        "a dataset with the fingerprint": dataset.fingerprint,
    }
