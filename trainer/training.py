"""One training run, from a dataset to exported embeddings."""

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from trainer import preflight
from trainer.callbacks import Progress, Throughput
from trainer.checkpoints import Checkpoints, Position, SaveCheckpoints
from trainer.config import TrainerConfig
from trainer.damage import damage_in
from trainer.dataset import Dataset, epoch_batches, open_dataset
from trainer.divergence import Diverged, StopOnDivergence
from trainer.errors import UserError, user_message
from trainer.export import export
from trainer.interrupt import cleaning_up
from trainer.layout import CHECKPOINTS_FOLDER, LOGS_FOLDER, METRICS_FILE
from trainer.lock import locked
from trainer.model import SkipGram
from trainer.optimizer import RowwiseAdagrad
from trainer.plain_path import plain_path

_STEPS_PER_EXECUTION = 16  # how many steps run between two calls of the callbacks
_STEPS_PER_SMALL_EPOCH = 16  # into how many batches a dataset is divided that has fewer of the usual size
_FEWEST_STEPS = 100  # a run with fewer steps is told to be short
_DATASET = "a dataset with the fingerprint"  # the name of this setting in messages


def train(config: TrainerConfig, *, verbose: bool = False) -> dict[str, Any]:
    """Trains embeddings on a dataset and exports them.

    Args:
        config: the settings. The dataset is read from config.data, and the model is written to config.output.
        verbose: whether to print the progress. If not, nothing is printed.

    Returns:
        The contents of metrics.json: the loss and, for pairs, the accuracy after each epoch; train_seconds and
        export_seconds; words_per_second, skip_grams_per_second and input_wait_fraction; steps_per_epoch,
        skip_grams_per_epoch and vocab_size; exports, which are the names of the files; config, dataset (the dataset's
        fingerprint), run (an id that no other run has) and versions.

    Raises:
        UserError: the dataset is incomplete, damaged, or replaced during the run, or does not fit the loss; the model
            directory is in use; there is too little memory; or the training has diverged.
        trainer.word2vec_format.ExportError: an exported file that was read back differs from what was written.
    """
    say = print if verbose else _say_nothing
    dataset = open_dataset(config.data)
    _check_loss(config, dataset)
    preflight.check_graph(dataset.directory)
    config = dataclasses.replace(config, batch_size=_batch_size(config, dataset, say))
    preflight.check_memory(config, dataset.vocab_size)
    preflight.make_output(config.output)
    with locked(config.output, "--output"), plain_path(config.output) as output:
        is_complete = preflight.check_output(config, output)
        preflight.remove_temporary(output)
        if is_complete and config.resume:
            return _finished(config, dataset, output, say)
        with cleaning_up(lambda: preflight.remove_temporary(output)):
            return _train(config, dataset, output, verbose, say)


def _train(
    config: TrainerConfig, dataset: Dataset, output: str, verbose: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Trains and exports, in an output directory that nobody else is using. Returns the contents of metrics.json."""
    model, steps_per_epoch = build_model(config, dataset)
    checkpoints = Checkpoints(model, output)
    position, run = _start_or_resume(config, dataset, checkpoints, output, say)
    if position.epoch or position.step:
        say(f"going on from epoch {position.epoch + 1}, step {position.step:,} of {steps_per_epoch:,}")

    device = (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))[0]
    say(
        f"training {dataset.vocab_size:,} x {config.embedding_dim} on {dataset.skip_grams_per_epoch:,} skip-grams: "
        f"{config.epochs} x {steps_per_epoch:,} steps on {device.device_type}"
    )
    if (steps := config.epochs * steps_per_epoch) < _FEWEST_STEPS:
        say(
            f"these are only {steps} steps, which teach the vectors little: expected more text, more --epochs, or a "
            "smaller --batch_size"
        )
    throughput = Throughput(dataset, steps_per_epoch)
    log_dir = os.path.join(output, LOGS_FOLDER)
    callbacks = [
        StopOnDivergence(config, dataset.manifest),
        SaveCheckpoints(checkpoints, position, config.checkpoint_minutes, dataset.check_unchanged),
        Progress(throughput, dataset.example_format, config.epochs, steps_per_epoch, log_dir, verbose),
    ]
    try:
        for epoch in range(position.epoch, config.epochs):
            dataset.check_unchanged()
            model.fit(
                epoch_batches(dataset, config.batch_size, config.seed, epoch, skip_steps=position.step),
                initial_epoch=epoch,
                epochs=epoch + 1,
                steps_per_epoch=steps_per_epoch - position.step,
                shuffle=False,  # epoch_batches shuffles
                verbose=0,
                callbacks=callbacks,
            )
        _check_finite(config, model)
    except Diverged:
        checkpoints.remove()  # --resume would diverge again
        raise
    except (tf.errors.OpError, ValueError) as error:
        if user_message(error) is None and (damage := damage_in(dataset)):
            raise UserError(damage) from error
        raise

    metrics_file = os.path.join(output, METRICS_FILE)
    start = time.perf_counter()
    try:
        names = export(dataset, model.target_embeddings.numpy(), output, lambda: preflight.remove(metrics_file))
    except Exception as error:
        if user_message(error) is None:  # the dataset may have gone away meanwhile, with the words and the graph
            dataset.check_unchanged()
            preflight.check_graph(dataset.directory)
        raise
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
        "dataset": dataset.fingerprint,
        "run": run,
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
    }
    preflight.write_json(metrics_file, metrics)
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
    is_short = steps_per_epoch * config.epochs < _FEWEST_STEPS  # its last loss must not be the mean of all its steps
    model.compile(
        optimizer,
        jit_compile=config.optimizer == "adam",
        steps_per_execution=1 if is_short else _STEPS_PER_EXECUTION,
    )
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


def _batch_size(config: TrainerConfig, dataset: Dataset, say: Callable[[str], None]) -> int:
    """How many examples a step takes. A dataset that is smaller than one batch is divided into several.

    The first step changes the context embeddings alone, as these start at 0. So a run of one step would learn nothing.
    """
    fewest = max(1, dataset.num_examples // _STEPS_PER_SMALL_EPOCH)
    if not config.batch_size:
        return min(dataset.default_batch_size, fewest)
    if config.batch_size <= dataset.num_examples:
        return config.batch_size
    say(
        f"--batch_size {config.batch_size:,} is more than the dataset has, which is {dataset.num_examples:,} "
        f"{dataset.example_format.name}: a step takes {fewest:,}"
    )
    return fewest


def _check_finite(config: TrainerConfig, model: SkipGram) -> None:
    """Raises Diverged if a number in one of the tables is no number or infinite."""
    for table in model.trainable_variables:
        if not bool(tf.reduce_all(tf.math.is_finite(table.value))):
            raise Diverged(
                f"--learning_rate {config.learning_rate:g}: the vectors hold NaN or infinity, so nothing is exported: "
                "expected a lower rate"
            )


def _finished(config: TrainerConfig, dataset: Dataset, output: str, say: Callable[[str], None]) -> dict[str, Any]:
    """What to do with --resume if the run has finished: removes what was left to remove, and returns the metrics.

    Raises:
        UserError: the model that is there was trained with other settings.
    """
    metrics = preflight.read_json(os.path.join(output, METRICS_FILE))
    if metrics is None or not isinstance(metrics.get("config"), dict):
        raise UserError(
            f"--output {config.output} holds a model whose {METRICS_FILE} is damaged, which says how it was trained: "
            "name another directory, or add --overwrite instead of --resume to replace the model"
        )
    settings = _settings(config, dataset)
    found = {**{f"--{name}": value for name, value in metrics["config"].items()}, _DATASET: metrics.get("dataset")}
    for name, value in settings.items():
        if found.get(name) != value:
            raise UserError(
                f"--output {config.output} holds a model that is complete, with {name} {found.get(name)}, not {value}: "
                "name another directory, or add --overwrite instead of --resume to replace the model"
            )
    preflight.remove(os.path.join(output, CHECKPOINTS_FOLDER))
    say(f"the model in {config.output} is complete, so there is nothing to resume")
    return metrics


def _start_or_resume(
    config: TrainerConfig, dataset: Dataset, checkpoints: Checkpoints, output: str, say: Callable[[str], None]
) -> tuple[Position, str]:
    """Restores the last checkpoint if --resume is set and there is one. Otherwise removes what an earlier run left.

    Returns:
        Where the run begins, and its id.
    """
    settings = _settings(config, dataset)
    if config.resume:
        if restored := checkpoints.restore(settings, say):
            return restored
        say(f"no checkpoint in {config.output}: starting from the beginning")
    run = checkpoints.start(settings)
    preflight.remove(os.path.join(output, LOGS_FOLDER))
    return Position(), run


def _settings(config: TrainerConfig, dataset: Dataset) -> dict[str, Any]:
    """The settings that a run must share with the interrupted run that it resumes, by the name for messages."""
    may_differ = {"data", "output", "overwrite", "resume", "checkpoint_minutes"}
    names = sorted({field.name for field in dataclasses.fields(config)} - may_differ)
    return {
        **{f"--{name}": getattr(config, name) for name in names},
        _DATASET: dataset.fingerprint,
    }
