"""Keras callbacks that show how the training goes: a line of progress on the screen, and curves in TensorBoard."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from trainer.checkpoints import Checkpoints, Position
from trainer.dataset import Dataset
from trainer.formats import ExampleFormat
from trainer.group import Group

_SECONDS_BETWEEN_LINES = {True: 0.2, False: 10.0}  # by whether stdout is a terminal


class Throughput:
    """Measures how fast the training goes and how long it waits for its input.

    The first measurement includes the compilation of the step. It is used only until a later measurement exists.

    Args:
        dataset: the dataset that the model is trained on.
        steps_per_epoch: the number of steps that take the model once through the dataset.
    """

    def __init__(self, dataset: Dataset, steps_per_epoch: int) -> None:
        self._words_per_step = dataset.words_per_epoch / steps_per_epoch
        self._skip_grams_per_step = dataset.skip_grams_per_epoch / steps_per_epoch
        # Each measurement is (steps, seconds, seconds of waiting).
        self._first: tuple[int, float, float] | None = None
        self._later = (0, 0.0, 0.0)

    def add(self, steps: int, seconds: float, waited: float) -> None:
        """Adds a measurement: some steps, the seconds that they took, and how many of these they waited for input."""
        if self._first is None:
            self._first = (steps, seconds, waited)
        else:
            total_steps, total_seconds, total_waited = self._later
            self._later = (total_steps + steps, total_seconds + seconds, total_waited + waited)

    @property
    def rates(self) -> dict[str, float]:
        """words_per_second (before subsampling), skip_grams_per_second, and input_wait_fraction (0 to 1)."""
        steps, seconds, waited = self._measured
        return {
            "words_per_second": steps * self._words_per_step / seconds,
            "skip_grams_per_second": steps * self._skip_grams_per_step / seconds,
            "input_wait_fraction": waited / seconds,
        }

    def seconds_for(self, steps: int) -> float:
        """Estimates how many seconds so many steps will take."""
        measured_steps, seconds, _ = self._measured
        return steps * seconds / max(1, measured_steps)

    @property
    def _measured(self) -> tuple[int, float, float]:
        return self._later if self._later[0] else (self._first or (0, 1.0, 0.0))


class Progress(keras.callbacks.Callback):
    """Prints a line of progress and writes scalars for TensorBoard.

    The scalars are the loss (per skip-gram, since the previous point), the learning rate, and the rates of Throughput.
    If the format has an accuracy, the accuracy of the epoch so far is written as well.

    Args:
        throughput: receives a measurement after every few steps.
        example_format: the format of the examples.
        epochs: the number of epochs of the whole run.
        steps_per_epoch: the number of steps in each of them.
        log_dir: the directory for TensorBoard's files; None to write none.
        verbose: whether to print.
        scores: the scores of an epoch that has just ended, by name; empty within an epoch.
    """

    def __init__(
        self,
        throughput: Throughput,
        example_format: ExampleFormat,
        epochs: int,
        steps_per_epoch: int,
        log_dir: str | None,
        verbose: bool,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self._throughput = throughput
        self._has_accuracy = example_format.has_accuracy
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._writer = tf.summary.create_file_writer(log_dir) if log_dir else tf.summary.create_noop_writer()
        self._verbose = verbose
        self._scores: Mapping[str, float] = {} if scores is None else scores
        self._is_terminal = sys.stdout.isatty()
        self._reported_at = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock of an epoch."""
        self._epoch = epoch
        self._last_batch = -1
        metric = self.model.loss_per_skip_gram
        self._last_loss = (float(metric.total), float(metric.count))
        self._measured_at = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds a measurement, and reports if the last report was some time ago."""
        assert logs is not None
        waited = float(logs["input_wait"])  # converting the tensor also waits until the steps are done
        now = time.perf_counter()
        self._throughput.add(batch - self._last_batch, now - self._measured_at, waited)
        self._measured_at, self._last_batch = now, batch
        if now - self._reported_at >= _SECONDS_BETWEEN_LINES[self._is_terminal]:
            self._reported_at = now
            self._report(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports the epoch's loss."""
        assert logs is not None
        self._report(logs, end="\n")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Writes the scalars that are still in memory."""
        self._writer.flush()

    def _report(self, logs: dict[str, Any], end: str = "") -> None:
        rates = self._throughput.rates
        steps_done = int(self.model.optimizer.iterations)
        learning_rate = float(self.model.optimizer.learning_rate)
        if self._verbose:
            self._print(logs, steps_done, learning_rate, rates["words_per_second"], end)

        metric = self.model.loss_per_skip_gram
        total, count = float(metric.total), float(metric.count)
        with self._writer.as_default(step=steps_done):
            if self._has_accuracy:
                tf.summary.scalar("accuracy", float(logs["accuracy"]))
            if count > self._last_loss[1]:
                tf.summary.scalar("loss", (total - self._last_loss[0]) / (count - self._last_loss[1]))
            tf.summary.scalar("learning_rate", learning_rate)
            for name, value in {**rates, **self._scores}.items():
                tf.summary.scalar(name, value)
        self._last_loss = (total, count)

    def _print(
        self, logs: dict[str, Any], steps_done: int, learning_rate: float, words_per_second: float, end: str
    ) -> None:
        seconds_left = int(self._throughput.seconds_for(self._epochs * self._steps_per_epoch - steps_done))
        share = (steps_done - self._epoch * self._steps_per_epoch) / self._steps_per_epoch
        accuracy = f"accuracy {float(logs['accuracy']):.4f}  " if self._has_accuracy else ""
        scores = "".join(f"{name} {value:.4f}  " for name, value in self._scores.items())
        line = (
            f"epoch {self._epoch + 1}/{self._epochs} {share:4.0%}  "
            f"loss {float(logs['loss']):.4f}  {accuracy}{scores}rate {learning_rate:.4f}  "
            f"{words_per_second:,.0f} words/s  {seconds_left // 60}:{seconds_left % 60:02d} left"
        )
        if self._is_terminal:
            print(f"\r{line:<79}", end=end, flush=True)
        else:
            print(line, flush=True)


class SaveCheckpoints(keras.callbacks.Callback):
    """Keeps a position up to date. It saves a checkpoint after every epoch, and at intervals within an epoch.

    Args:
        checkpoints: writes the checkpoints.
        position: where the run starts; the callback changes it while the run goes on.
        minutes: the time between two checkpoints within an epoch.
        check: is called before each checkpoint is saved; it raises an exception if the model must not be saved.
        group: the processes that train together; the chief's clock says when they save.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        position: Position,
        minutes: float,
        check: Callable[[], None],
        group: Group,
    ) -> None:
        super().__init__()
        self._check = check
        self._group = group
        self._checkpoints = checkpoints
        self._position = position
        self._seconds_between = 60 * minutes
        self._saved_at = self._timed_at = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Restores the metrics of an epoch that was interrupted, as Keras has just reset them."""
        self._first_step = self._position.step
        if self._position.metric_state:
            for variable, value in zip(self._metric_variables(), self._position.metric_state, strict=True):
                variable.assign(value)
        self._saved_at = self._timed_at = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Updates the position, and saves it if the last checkpoint is old enough."""
        self._position.step = self._first_step + batch + 1
        self._add_time()
        is_due = time.monotonic() - self._saved_at >= self._seconds_between
        if self._group.told_by_chief("1" if is_due else ""):
            self._position.metric_state = [float(variable) for variable in self._metric_variables()]
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Updates the position to the start of the next epoch, and saves it."""
        self._add_time()
        self._position.epoch, self._position.step = epoch + 1, 0
        self._position.metric_state = []
        for metric in self.model.metrics:
            if float(metric.count):
                self._position.history.setdefault(metric.name, []).append(float(metric.result()))
        self._save()

    def _metric_variables(self) -> list[keras.Variable]:
        return [variable for metric in self.model.metrics for variable in metric.variables]

    def _add_time(self) -> None:
        now = time.monotonic()
        self._position.train_seconds += now - self._timed_at
        self._timed_at = now

    def _save(self) -> None:
        self._check()
        self._checkpoints.save(self._position)
        self._saved_at = self._timed_at = time.monotonic()  # train_seconds excludes the time of saving
