"""Checkpoints: all that an interrupted run needs to go on exactly where it stopped."""

import json
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import tensorflow as tf
from tensorflow.io import gfile

from trainer.errors import UserError
from trainer.layout import CHECKPOINTS_FOLDER, SETTINGS_FILE
from trainer.model import SkipGram
from trainer.preflight import read_json, remove, write_json

_NAME = re.compile(r"ckpt-(\d+)[._]")  # what the names of a checkpoint's files begin with, the unfinished ones too
_INDEX = re.compile(r"ckpt-(\d+)\.index")


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
        self._position = tf.Variable("", dtype=tf.string, trainable=False)
        variables = [variable.value for variable in [*model.variables, *model.optimizer.variables]]
        self._checkpoint = tf.train.Checkpoint(variables=variables, position=self._position)

    def start(self, settings: dict[str, Any]) -> str:
        """Removes the checkpoints of any earlier run and writes down the settings of the new one.

        Args:
            settings: the settings of this run.

        Returns:
            The id of the new run, which nothing else has.
        """
        if gfile.exists(self._directory):
            self.remove()
        gfile.makedirs(self._directory)
        run = uuid.uuid4().hex
        write_json(os.path.join(self._directory, SETTINGS_FILE), {"run": run, "settings": settings})
        return run

    def save(self, position: Position) -> None:
        """Writes a checkpoint. The one before it stays, in case the run dies while this one is written."""
        self._position.assign(json.dumps(asdict(position)))
        number = max(self._numbers(), default=0) + 1
        self._checkpoint.write(os.path.join(self._directory, f"ckpt-{number}"))
        for entry in gfile.listdir(self._directory):
            if (found := _NAME.match(entry)) and int(found.group(1)) < number - 1:
                remove(os.path.join(self._directory, entry.rstrip("/")))

    def restore(self, settings: dict[str, Any], say: Callable[[str], None]) -> tuple[Position, str] | None:
        """Restores the last checkpoint that is sound.

        Args:
            settings: the settings of this run.
            say: is told about each checkpoint that is damaged.

        Returns:
            Where the run goes on, and the id of the run; or None if there is no checkpoint.

        Raises:
            UserError: the checkpoint was written with other settings, or all checkpoints are damaged.
        """
        numbers = sorted(self._numbers(), reverse=True)
        if not numbers:
            return None
        earlier = read_json(os.path.join(self._directory, SETTINGS_FILE))
        if earlier is None or not isinstance(earlier.get("settings"), dict) or not isinstance(earlier.get("run"), str):
            raise UserError(
                f"--resume: {CHECKPOINTS_FOLDER}/{SETTINGS_FILE} is damaged or missing, which says how the interrupted "
                "run was started: expected --overwrite, to start anew"
            )
        for name, value in settings.items():
            if earlier["settings"].get(name) != value:
                raise UserError(
                    f"--resume: the interrupted run had {name} {earlier['settings'].get(name)}, not {value}: "
                    "give the same flags, or --overwrite to start anew"
                )
        for number in numbers:
            try:
                self._checkpoint.read(os.path.join(self._directory, f"ckpt-{number}")).assert_consumed()
                return Position(**json.loads(self._position.numpy())), earlier["run"]
            except (tf.errors.OpError, OSError, AssertionError, LookupError, TypeError, ValueError):
                if number != numbers[-1]:
                    say(f"{CHECKPOINTS_FOLDER}/ckpt-{number} is damaged, so the run goes on from the one before it")
        raise UserError(
            f"--resume: all {len(numbers)} checkpoints of the interrupted run are damaged: expected --overwrite, to "
            "start anew"
        )

    def remove(self) -> None:
        """Removes all checkpoints. It is called when the run has finished.

        The settings are removed last. They tell a later run that the model is complete, should this one be killed here.
        """
        for entry in gfile.listdir(self._directory):
            if entry != SETTINGS_FILE:
                remove(os.path.join(self._directory, entry.rstrip("/")))
        gfile.rmtree(self._directory)

    def _numbers(self) -> list[int]:
        """The numbers of the checkpoints. A checkpoint is complete once it has an index, which is written last."""
        entries = gfile.listdir(self._directory) if gfile.isdir(self._directory) else []
        return [int(name.group(1)) for name in map(_INDEX.fullmatch, entries) if name]


class SaveCheckpoints(keras.callbacks.Callback):
    """Keeps a position up to date. It saves a checkpoint after every epoch, and at intervals within an epoch.

    Args:
        checkpoints: writes the checkpoints.
        position: where the run starts; the callback changes it while the run goes on.
        minutes: the time between two checkpoints within an epoch.
        check: is called before each checkpoint is saved; it raises an exception if the model must not be saved.
    """

    def __init__(self, checkpoints: Checkpoints, position: Position, minutes: float, check: Callable[[], None]) -> None:
        super().__init__()
        self._check = check
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
        self._check()
        self._checkpoints.save(self._position)
        self._saved_at = self._timed_at = time.monotonic()  # train_seconds excludes the time of saving
