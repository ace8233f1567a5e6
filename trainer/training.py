"""One training run, from a dataset to exported embeddings."""

import contextlib
import dataclasses
import itertools
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.io import gfile

from trainer import fused, news, preflight, projector, tables
from trainer.batches import epoch_batches
from trainer.building import FEWEST_STEPS, batch_size, build_model, check_loss
from trainer.checkpoints import Checkpoints, Position
from trainer.cluster import Process
from trainer.config import TrainerConfig
from trainer.curves import Curves
from trainer.damage import damage_in
from trainer.dataset import Dataset, open_dataset
from trainer.divergence import Diverged, StopOnDivergence
from trainer.errors import UserError, user_message
from trainer.export import Others, export, possible_exports
from trainer.group import Group, join
from trainer.interrupt import cleaning_up
from trainer.layout import CHECKPOINTS_FOLDER, CONTEXT_VECTORS, METRICS_FILE, REPORT_FILE
from trainer.model import SkipGram
from trainer.news import logger
from trainer.places import Places, open_places
from trainer.progress import Progress
from trainer.report.write import write_report
from trainer.resume import metrics_of_finished, settings_of_all, start_or_resume
from trainer.save_checkpoints import SaveCheckpoints
from trainer.scores import ScoreEpochs, decisive_score, scorers_of, should_stop
from trainer.throughput import Throughput
from trainer.warm_start import open_source, start_from


def train(config: TrainerConfig, process: Process | None = None, *, verbose: bool = False) -> dict[str, Any]:
    """Trains embeddings on a dataset and exports them.

    Args:
        config: the settings. The dataset is read from config.data, and the model is written to config.output.
            config.devices plays no part here, see trainer.launcher.
        process: this process, if several train together. All must call this function, before TensorFlow does anything
            else in them. The chief exports.
        verbose: whether to print the progress. If not, nothing is printed, unless the program has configured logging:
            news go to the logger "trainer". Only the chief has some.

    Returns:
        The contents of metrics.json: the loss and, for pairs, the accuracy after each epoch, and the scores of
        trainer.scores; best_epoch with config.patience; train_seconds, score_seconds and export_seconds;
        words_per_second, skip_grams_per_second and input_wait_fraction, also of each of the processes; steps_per_epoch,
        skip_grams_per_epoch and vocab_size; exports, which are the names of the files;
        init, which says what became of the words with --init, see trainer.warm_start.Found; config,
        dataset (the dataset's fingerprint), run (an id that no other run has), versions, and finished (when the run
        was complete, in UTC).

    Raises:
        UserError: the dataset is incomplete, damaged, or replaced during the run, or does not fit the loss; the model
            directory is in use; there is too little memory; the training has diverged; or the processes that train
            together do not have the same settings.
        trainer.cluster.ProcessLost: another process has ended, or did not come.
        trainer.word2vec_format.ExportError: an exported file that was read back differs from what was written.
    """
    is_chief = process is None or process.rank == 0
    with news.silenced() if not is_chief else news.printed() if verbose else contextlib.nullcontext():
        return _train_in_group(config, process)


def _train_in_group(config: TrainerConfig, process: Process | None) -> dict[str, Any]:
    """What train does."""
    news.show("opening the dataset")
    dataset = open_dataset(config.data)
    check_loss(config, dataset)
    config = possible_exports(config, dataset)
    if config.init and not config.resume:  # a run that goes on may not need it any more
        open_source(config)
    _use_one_gpu()
    config = dataclasses.replace(config, batch_size=batch_size(config, dataset))
    preflight.check_memory(config, dataset.vocab_size, process)
    versions = {"the version of TensorFlow": tf.__version__}
    group = join(process, {**settings_of_all(config, dataset), **versions}, 60 * config.wait_minutes)
    with group.watching():
        if group.is_chief:
            metrics = _train_as_chief(config, dataset, group)
        else:
            metrics = _train_with_chief(config, dataset, group)
        group.part()
    return metrics


def _train_as_chief(config: TrainerConfig, dataset: Dataset, group: Group) -> dict[str, Any]:
    """Trains and exports. Returns the contents of metrics.json, after it has told them to the other processes."""
    preflight.check_graph(dataset.directory)
    with open_places(config, is_chief=True) as places:
        is_complete = preflight.check_output(config, places.output, places.checkpoint_dir)
        preflight.remove_temporary(places.output)
        is_finished = is_complete and config.resume
        metrics: dict[str, Any] = {}
        if is_finished:
            metrics = metrics_of_finished(config, dataset, places.output)
            preflight.remove(os.path.join(places.output, CHECKPOINTS_FOLDER))
        group.told_by_chief(json.dumps(metrics))
        if not is_finished:
            with cleaning_up(lambda: preflight.remove_temporary(places.output)):
                metrics = _train(config, dataset, group, places)
        if config.report and not (is_finished and gfile.exists(os.path.join(places.output, REPORT_FILE))):
            _report(config, places)
    return metrics


def _report(config: TrainerConfig, places: Places) -> None:
    """Writes the report. The model is complete without it, so a failure is only told."""
    news.show("writing the report")
    try:
        write_report(config.output, log_dir=places.log_dir)
    except Exception as error:  # of any kind: the run must not fail any more
        reason, *_ = (user_message(error) or f"{type(error).__name__}: {error}").splitlines()
        logger.warning(
            f"{REPORT_FILE} could not be written ({reason}): python -m trainer.report {config.output} tries it again"
        )


def _train_with_chief(config: TrainerConfig, dataset: Dataset, group: Group) -> dict[str, Any]:
    """What the other processes do meanwhile. Returns what the chief has told."""
    metrics: dict[str, Any] = json.loads(group.told_by_chief())
    if not metrics:
        with open_places(config, is_chief=False) as places:
            metrics = _train(config, dataset, group, places)
    return metrics


def _train(config: TrainerConfig, dataset: Dataset, group: Group, places: Places) -> dict[str, Any]:
    """Trains and exports, in directories that no other run is using. Returns the contents of metrics.json."""
    scorers = scorers_of(config, dataset, group)
    decisive = decisive_score(config, scorers)
    model, steps_per_epoch = build_model(config, dataset, group)
    checkpoints = Checkpoints(model, places.checkpoint_dir, group)
    position, run = start_or_resume(config, dataset, checkpoints)
    if position.epoch or position.step:
        logger.info(f"going on from epoch {position.epoch + 1}, step {position.step:,} of {steps_per_epoch:,}")
    elif group.is_chief and not config.log_dir:
        preflight.remove(places.log_dir)
    if config.init and not (position.epoch or position.step):
        try:
            position.init = start_from(config, dataset, model, group)._asdict()
        except UserError:
            if group.is_chief:
                checkpoints.remove()  # there is nothing to resume yet
            raise

    if config.step == "auto" and model.obstacle == fused.NOT_COMPILED:
        logger.warning(f"the training takes about twice as long without the fused step: {model.obstacle}")
    kind = "GPU" if model.gpu else "CPU"
    logger.info(
        f"training {dataset.vocab_size:,} x {config.embedding_dim} on {dataset.skip_grams_per_epoch:,} skip-grams: "
        f"{config.epochs} x {steps_per_epoch:,} steps on {kind if group.size == 1 else f'{group.size} x {kind}'}"
    )
    if (steps := config.epochs * steps_per_epoch) < FEWEST_STEPS:
        logger.warning(
            f"these are only {steps} steps, which teach the vectors little: expected more text, more --epochs, or a "
            "smaller --batch_size"
        )
    throughput = Throughput(dataset, steps_per_epoch)
    scores = ScoreEpochs(scorers, position, config.patience, decisive, group)
    has_accuracy = dataset.example_format.has_accuracy
    callbacks: list[keras.callbacks.Callback] = [
        StopOnDivergence(config, dataset.manifest),
        throughput,
        scores,
    ]
    if group.is_chief:
        callbacks.append(Curves(places.log_dir, throughput, steps, has_accuracy, scores.latest))
    callbacks.append(
        SaveCheckpoints(
            checkpoints, position, steps_per_epoch, config.checkpoint_minutes, dataset.check_unchanged, group
        )
    )
    if news.are_shown():
        callbacks.append(Progress(throughput, has_accuracy, config.epochs, steps_per_epoch, scores.latest))
    news.show("reading the first examples, and compiling the step")
    try:
        _fit(config, dataset, model, position, steps_per_epoch, callbacks)
        if 0 < position.best_epoch < position.epoch:
            logger.info(f"epoch {position.best_epoch} of {position.epoch} was the best, so its vectors are kept")
            checkpoints.restore_best(position)
        _check_finite(config, model, group)
    except Diverged:
        if group.is_chief:
            checkpoints.remove()  # --resume would diverge again
        raise
    except (tf.errors.OpError, ValueError) as error:
        if user_message(error) is None and not group.has_lost(error) and (damage := damage_in(dataset)):
            raise UserError(damage) from error
        raise

    rates = [json.loads(each) for each in group.exchange(json.dumps(throughput.rates))]
    others = _others(config, model)
    blocks = tables.give_away(model)
    if not group.is_chief:
        for _ in itertools.chain(others.contexts if others else (), blocks):
            pass
        told: dict[str, Any] = json.loads(group.told_by_chief())
        return told
    start = time.perf_counter()
    with projector.writing(dataset, places.log_dir, run, config.projector_words) as watched:
        names = _export(config, dataset, _showing(watched(blocks), dataset.vocab_size), others, places.output)
    metrics = {
        **position.history,
        **({"best_epoch": position.best_epoch} if position.best_epoch else {}),
        "train_seconds": round(position.train_seconds, 3),
        **({"score_seconds": round(position.score_seconds, 3)} if scorers else {}),
        **rates[0],
        "export_seconds": round(time.perf_counter() - start, 3),
        "steps_per_epoch": steps_per_epoch,
        "skip_grams_per_epoch": dataset.skip_grams_per_epoch,
        "vocab_size": dataset.vocab_size,
        "exports": names,
        **({"init": position.init} if position.init else {}),
        "config": dataclasses.asdict(config),
        "processes": rates,
        "dataset": dataset.fingerprint,
        "run": run,
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    preflight.write_json(os.path.join(places.output, METRICS_FILE), metrics)
    checkpoints.remove()
    group.told_by_chief(json.dumps(metrics))
    return metrics


def _fit(
    config: TrainerConfig,
    dataset: Dataset,
    model: SkipGram,
    position: Position,
    steps_per_epoch: int,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Trains the epochs from a position on. One of the callbacks keeps the position up to date."""
    unbegun = position.epoch + bool(position.step)
    # Keras wants the same number of steps in each epoch, so an epoch that was interrupted comes by itself.
    for epochs in (range(position.epoch, unbegun), range(unbegun, config.epochs)):
        if not epochs or should_stop(position, config.patience):
            continue
        dataset.check_unchanged()
        skip, many_cores = position.step, bool(model.gpu)
        model.fit(
            epoch_batches(dataset, config.batch_size, config.seed, epochs.start, skip, many_cores, len(epochs)),
            initial_epoch=epochs.start,
            epochs=epochs.stop,
            steps_per_epoch=steps_per_epoch - skip,
            shuffle=False,  # epoch_batches shuffles
            verbose=0,
            callbacks=callbacks,
        )


def _others(config: TrainerConfig, model: SkipGram) -> Others | None:
    """What is exported beside the target embeddings, if anything."""
    if not config.state and CONTEXT_VECTORS not in config.names_of_exports:
        return None
    return Others(tables.contexts(model), config.optimizer, tables.accumulators(model), config.state)


def _showing(blocks: Iterator[np.ndarray], vocab_size: int) -> Iterator[np.ndarray]:
    """Shows how many of the rows of a table are exported, while it gives on the blocks of rows."""
    logger.info("exporting %s vectors", f"{vocab_size:,}")
    done = 0
    for block in blocks:
        news.show("exporting", done / vocab_size)
        done += len(block)
        yield block
    news.show("checking what was exported")


def _export(
    config: TrainerConfig, dataset: Dataset, blocks: Iterator[np.ndarray], others: Others | None, output: str
) -> list[str]:
    """Exports the blocks of the target embeddings and others. Returns the names of the files and folders."""
    dimension, names = config.embedding_dim, config.names_of_exports

    def before_replacing() -> None:
        for name in (REPORT_FILE, METRICS_FILE):  # both are those of the older model
            preflight.remove(os.path.join(output, name))

    try:
        return export(dataset, blocks, dimension, output, before_replacing, names, others)
    except Exception as error:
        if user_message(error) is None:  # the dataset may have gone away meanwhile, with the words and the graph
            dataset.check_unchanged()
            preflight.check_graph(dataset.directory)
        raise


def _use_one_gpu() -> None:
    """Leaves the other GPUs of this machine alone. Each device has a process of its own."""
    with contextlib.suppress(RuntimeError):  # TensorFlow has been used already, by the program that calls train
        tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[:1], "GPU")


def _check_finite(config: TrainerConfig, model: SkipGram, group: Group) -> None:
    """Raises Diverged if a number in one of the tables is no number or infinite."""
    if not group.agree(tables.is_finite(model)):
        raise Diverged(
            f"--learning_rate {config.learning_rate:g}: the vectors hold NaN or infinity, so nothing is exported: "
            "expected a lower rate"
        )
