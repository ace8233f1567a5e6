"""One training run: from a dataset to exported embeddings."""

import dataclasses
import hashlib
import json
import os
import time

import keras
import tensorflow as tf
from tensorflow.io import gfile

from trainer import checkpoints, export
from trainer.callbacks import Progress, Throughput
from trainer.config import TrainerConfig
from trainer.dataset import Dataset, epoch_batches, open_dataset
from trainer.errors import UserError
from trainer.layout import LOGS_FOLDER, METRICS_FILE
from trainer.model import SkipGram
from trainer.optimizer import RowwiseAdagrad
from trainer.preflight import check_output

_STEPS_PER_EXECUTION = 16  # how many steps run between two looks at the clock


def train(config: TrainerConfig) -> dict:
    """Trains and exports.

    Args:
        config: the settings.

    Returns:
        What metrics.json holds.

    Raises:
        UserError: the dataset is not complete, or the model directory is in use.
    """
    dataset = open_dataset(config.data)
    if config.loss == "softmax" and dataset.example_format != "pairs":
        raise UserError(f"--loss softmax: --data {config.data} has to be of pipeline's --example_format pairs")
    config = dataclasses.replace(config, batch_size=config.batch_size or dataset.default_batch_size)
    check_output(config)
    model, steps_per_epoch = build_model(config, dataset)
    saver = checkpoints.Checkpoints(model, config.output)
    settings = _settings(config, dataset)
    position = saver.restore(settings) if config.resume else None
    if position:
        print(f"going on from epoch {position.epoch + 1}, step {position.step:,} of {steps_per_epoch:,}")
    else:
        if config.resume:
            print(f"no checkpoint in {config.output}: starting from the beginning")
        position = checkpoints.Position()
        saver.start(settings)
        _remove_logs(config.output)

    device = (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))[0]
    print(
        f"training {dataset.vocab_size:,} x {config.embedding_dim} on {dataset.skip_grams_per_epoch:,} skip-grams: "
        f"{config.epochs} x {steps_per_epoch:,} steps on {device.device_type}"
    )
    throughput = Throughput(dataset, steps_per_epoch)
    callbacks = [
        checkpoints.SaveCheckpoints(saver, position, config.checkpoint_minutes),
        Progress(
            throughput,
            config.epochs,
            steps_per_epoch,
            dataset.example_format == "pairs",
            os.path.join(config.output, LOGS_FOLDER),
        ),
    ]
    for epoch in range(position.epoch, config.epochs):
        model.fit(
            epoch_batches(dataset, config.batch_size, config.seed, epoch, skip_steps=position.step),
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=steps_per_epoch - position.step,
            shuffle=False,  # the dataset is
            verbose=0,
            callbacks=callbacks,
        )

    start = time.perf_counter()
    if gfile.exists(metrics_file := os.path.join(config.output, METRICS_FILE)):
        gfile.remove(metrics_file)
    names = export.export(dataset, model.target_embeddings.numpy(), config.output)
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
    with gfile.GFile(metrics_file + ".tmp", "w") as file:
        file.write(json.dumps(metrics, indent=1) + "\n")
    gfile.rename(metrics_file + ".tmp", metrics_file, overwrite=True)
    saver.remove()
    return metrics


def build_model(config: TrainerConfig, dataset: Dataset) -> tuple[SkipGram, int]:
    """The model, compiled and built, and the number of steps in an epoch."""
    steps_per_epoch = dataset.steps_per_epoch(config.batch_size)
    model = SkipGram(
        dataset.vocab_size,
        config.embedding_dim,
        dataset.context_weights,
        dataset.num_negatives,
        config.loss,
        config.initialization,
        config.seed,
    )
    rate = config.learning_rate
    if config.decay == "linear":  # to 0, as word2vec.c's, over the exact number of steps
        rate = keras.optimizers.schedules.PolynomialDecay(rate, steps_per_epoch * config.epochs, end_learning_rate=0.0)
    optimizer = {"rowwise_adagrad": RowwiseAdagrad, "adam": keras.optimizers.Adam}[config.optimizer](rate)
    # The step compiles its parts, and its halves run side by side. But Adam goes through whole tables, all in one pass.
    model.compile(optimizer, jit_compile=config.optimizer == "adam", steps_per_execution=_STEPS_PER_EXECUTION)
    model.optimizer.build(model.trainable_variables)
    return model, steps_per_epoch


def _settings(config: TrainerConfig, dataset: Dataset) -> dict:
    """What must be the same for a run to be resumed."""
    names = set(TrainerConfig.__dataclass_fields__) - {"data", "output", "overwrite", "resume", "checkpoint_minutes"}
    manifest = json.dumps(dataset.manifest, sort_keys=True).encode()
    return {
        **{f"--{name}": getattr(config, name) for name in sorted(names)},
        "a dataset with the fingerprint": hashlib.sha256(manifest).hexdigest()[:16],
    }


def _remove_logs(output: str) -> None:
    if gfile.exists(logs := os.path.join(output, LOGS_FOLDER)):
        gfile.rmtree(logs)
