"""Checkpoints: all that an interrupted run needs to go on exactly where it stopped."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import tensorflow as tf
from tensorflow.io import gfile

from trainer.errors import UserError
from trainer.layout import CHECKPOINTS_FOLDER, SETTINGS_FILE
from trainer.model import SkipGram


@dataclass
class Position:
    """How far a run has come."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the next epoch
    metric_state: list[float] = field(default_factory=list)  # the metrics' variables; empty between two epochs
    history: dict[str, list[float]] = field(default_factory=dict)  # by metric, its value after each finished epoch
    train_seconds: float = 0.0


class Checkpoints:
    """The checkpoints of one run. They are in MODEL/checkpoints, which exists until the run has finished.

    Args:
        model: a model that is compiled and built, and whose optimizer is built.
        output: the model directory.
    """

    def __init__(self, model: SkipGram, output: str) -> None:
        self._directory = os.path.join(output, CHECKPOINTS_FOLDER)
        self._settings_file = os.path.join(self._directory, SETTINGS_FILE)
        self._position = tf.Variable("", dtype=tf.string, trainable=False)
        variables = [variable.value for variable in [*model.variables, *model.optimizer.variables]]
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(variables=variables, position=self._position), self._directory, max_to_keep=2
        )

    def start(self, settings: dict[str, Any]) -> None:
        """Removes the checkpoints of any earlier run and writes down the settings of the new one."""
        if gfile.exists(self._directory):
            gfile.rmtree(self._directory)
        gfile.makedirs(self._directory)
        with gfile.GFile(self._settings_file, "w") as file:
            file.write(json.dumps(settings, indent=1))

    def save(self, position: Position) -> None:
        """Writes a checkpoint. The one before it stays, in case the run dies while this one is written."""
        self._position.assign(json.dumps(asdict(position)))
        self._manager.save()

    def restore(self, settings: dict[str, Any]) -> Position | None:
        """Restores the last checkpoint.

        Args:
            settings: the settings of this run.

        Returns:
            Where the run goes on, or None if there is no checkpoint.

        Raises:
            UserError: the checkpoint was written with other settings.
        """
        if not self._manager.latest_checkpoint:
            return None
        with gfile.GFile(self._settings_file) as file:
            earlier = json.load(file)
        for name, value in settings.items():
            if earlier.get(name) != value:
                raise UserError(
                    f"--resume: the interrupted run had {name} {earlier.get(name)}, not {value}: "
                    "give the same flags, or --overwrite to start anew"
                )
        self._manager.restore_or_initialize()
        return Position(**json.loads(self._position.numpy()))

    def remove(self) -> None:
        """Removes all checkpoints. It is called when the run has finished."""
        gfile.rmtree(self._directory)


class SaveCheckpoints(keras.callbacks.Callback):
    """Keeps a position up to date. It saves a checkpoint after every epoch, and at intervals within an epoch.

    Args:
        checkpoints: writes the checkpoints.
        position: where the run starts; the callback changes it while the run goes on.
        minutes: the time between two checkpoints within an epoch.
    """

    def __init__(self, checkpoints: Checkpoints, position: Position, minutes: float) -> None:
        super().__init__()
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
        if time.monotonic() - self._saved_at >= self._seconds_between:
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
        self._checkpoints.save(self._position)
        self._saved_at = self._timed_at = time.monotonic()  # train_seconds excludes the time of saving
