"""Saves a checkpoint after every epoch, and at intervals within an epoch."""

import time
from collections.abc import Callable
from typing import Any

import keras

from trainer import news
from trainer.checkpoints import Checkpoints, Position
from trainer.group import Group


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
        news.show("saving a checkpoint")
        self._checkpoints.save(self._position)
        self._saved_at = self._timed_at = time.monotonic()  # train_seconds excludes the time of saving
