"""Keras callbacks that print how the training goes, and save checkpoints."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from trainer.checkpoints import Checkpoints, Position
from trainer.formats import ExampleFormat
from trainer.group import Group
from trainer.throughput import Throughput

_SECONDS_BETWEEN_LINES = {True: 0.2, False: 10.0}  # by whether stdout is a terminal


class Progress(keras.callbacks.Callback):
    """Prints a line of progress.

    Args:
        throughput: what has been measured.
        example_format: the format of the examples.
        epochs: the number of epochs of the whole run.
        steps_per_epoch: the number of steps in each of them.
        scores: the scores of an epoch that has just ended, by name; empty within an epoch.
    """

    def __init__(
        self,
        throughput: Throughput,
        example_format: ExampleFormat,
        epochs: int,
        steps_per_epoch: int,
        scores: Mapping[str, float],
    ) -> None:
        super().__init__()
        self._throughput = throughput
        self._has_accuracy = example_format.has_accuracy
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._scores = scores
        self._is_terminal = sys.stdout.isatty()
        self._reported_at = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports if the last report was some time ago."""
        assert logs is not None
        now = time.perf_counter()
        if now - self._reported_at >= _SECONDS_BETWEEN_LINES[self._is_terminal]:
            self._reported_at = now
            self._report(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports the epoch's loss."""
        assert logs is not None
        self._report(logs, end="\n")

    def _report(self, logs: dict[str, Any], end: str = "") -> None:
        steps_done = int(self.model.optimizer.iterations)
        learning_rate = float(self.model.optimizer.learning_rate)
        words_per_second = self._throughput.rates["words_per_second"]
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
        steps_per_epoch: the number of steps in an epoch.
        minutes: the time between two checkpoints within an epoch.
        check: is called before each checkpoint is saved; it raises an exception if the model must not be saved.
        group: the processes that train together; the chief's clock says when they save.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        position: Position,
        steps_per_epoch: int,
        minutes: float,
        check: Callable[[], None],
        group: Group,
    ) -> None:
        super().__init__()
        self._check = check
        self._group = group
        self._checkpoints = checkpoints
        self._position = position
        self._steps_per_epoch = steps_per_epoch
        self._seconds_between = 60 * minutes
        self._saved_at = self._timed_at = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Restores the metrics of an epoch that was interrupted, as Keras has just reset them."""
        if self._position.metric_state:
            for variable, value in zip(self._metric_variables(), self._position.metric_state, strict=True):
                variable.assign(value)
        self._saved_at = self._timed_at = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Updates the position, and saves it if the last checkpoint is old enough."""
        assert logs is not None
        self._position.step += int(logs["steps"])
        self._add_time()
        if self._position.step == self._steps_per_epoch:  # on_epoch_end saves
            return
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
