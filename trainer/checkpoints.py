"""Checkpoints, and what a run needs besides the tables to go on exactly where it was."""

import dataclasses
import json
import os
import time

import keras
import tensorflow as tf
from tensorflow.io import gfile

from trainer.errors import UserError
from trainer.layout import CHECKPOINTS_FOLDER
from trainer.model import SkipGram

_SETTINGS_FILE = "settings.json"


@dataclasses.dataclass
class Position:
    """How far a run has come."""

    epoch: int = 0  # epochs that are over
    step: int = 0  # steps done of the next one
    metric_state: list[float] = dataclasses.field(default_factory=list)  # in the middle of an epoch
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)  # each metric by epoch
    train_seconds: float = 0.0


class Checkpoints:
    """The checkpoints of one run, in MODEL/checkpoints, which is there only as long as the run has not ended well.

    Args:
        model: compiled and built, as is its optimizer.
        output: the model directory.
    """

    def __init__(self, model: SkipGram, output: str):
        self._directory = os.path.join(output, CHECKPOINTS_FOLDER)
        self._position = tf.Variable("", dtype=tf.string, trainable=False)
        variables = [variable.value for variable in [*model.variables, *model.optimizer.variables]]
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(variables=variables, position=self._position), self._directory, max_to_keep=2
        )

    def start(self, settings: dict) -> None:
        """Forgets any earlier run and notes the settings of the new one."""
        if gfile.exists(self._directory):
            gfile.rmtree(self._directory)
        gfile.makedirs(self._directory)
        with gfile.GFile(os.path.join(self._directory, _SETTINGS_FILE), "w") as file:
            file.write(json.dumps(settings, indent=1))

    def save(self, position: Position) -> None:
        """Writes a checkpoint; a run that dies meanwhile still has the one before."""
        self._position.assign(json.dumps(dataclasses.asdict(position)))
        self._manager.save()

    def restore(self, settings: dict) -> Position | None:
        """Restores the last checkpoint.

        Args:
            settings: those of this run.

        Returns:
            Where to go on, or None if there is no checkpoint.

        Raises:
            UserError: the checkpoint was written with other settings.
        """
        if not self._manager.latest_checkpoint:
            return None
        with gfile.GFile(os.path.join(self._directory, _SETTINGS_FILE)) as file:
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
        """Removes all checkpoints: the run has ended well."""
        gfile.rmtree(self._directory)


class SaveCheckpoints(keras.callbacks.Callback):
    """Keeps `position` up to date, and saves a checkpoint every so often and after every epoch.

    Args:
        checkpoints: where to.
        position: where the run starts; changed as it goes on.
        minutes: time between checkpoints within an epoch.
    """

    def __init__(self, checkpoints: Checkpoints, position: Position, minutes: float):
        super().__init__()
        self._checkpoints = checkpoints
        self._position = position
        self._seconds_between = 60 * minutes
        self._saved = self._timed = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        """Puts back the metrics of an epoch that was interrupted: Keras has just reset them."""
        self._first_step = self._position.step
        if self._position.metric_state:
            for variable, value in zip(self._metric_variables(), self._position.metric_state, strict=True):
                variable.assign(value)
        self._saved = self._timed = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Notes the position; saves it when it is time."""
        self._position.step = self._first_step + batch + 1
        self._add_time()
        if time.monotonic() - self._saved >= self._seconds_between:
            self._position.metric_state = [float(variable) for variable in self._metric_variables()]
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        """Notes that the epoch is over, and saves."""
        self._add_time()
        self._position.epoch, self._position.step = epoch + 1, 0
        self._position.metric_state = []
        for metric in self.model.metrics:
            if float(metric.count):
                self._position.history.setdefault(metric.name, []).append(float(metric.result()))
        self._save()

    def _metric_variables(self):
        return [variable for metric in self.model.metrics for variable in metric.variables]

    def _add_time(self):
        now = time.monotonic()
        self._position.train_seconds += now - self._timed
        self._timed = now

    def _save(self):
        self._checkpoints.save(self._position)
        self._saved = self._timed = time.monotonic()
