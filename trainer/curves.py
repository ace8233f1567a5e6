"""Writes the curves of a run for TensorBoard."""

import itertools
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.plugins.scalar.summary_v2 import scalar_pb  # type: ignore[import-untyped]
from tensorflow.io import gfile

from trainer.optimizer import learning_rate_of
from trainer.throughput import Throughput

_MOST_POINTS = 400  # of a curve, and one more at the end of each epoch
_SECONDS_BETWEEN_FLUSHES = 30.0  # in an object store, each of them may write the whole file again
_DESCRIPTIONS = {
    "loss": "The mean loss of a skip-gram since the point before.",
    "accuracy": "The share of examples whose true context word had the largest logit, since the point before.",
    "learning_rate": "The learning rate of the next step.",
    "words_per_second": "Words of the text per second, counted before subsampling, since the point before.",
    "skip_grams_per_second": "Skip-grams per second since the point before.",
    "input_wait_fraction": "The share of the time in which the steps waited for their input, since the point before.",
    "holdout_loss": "The mean loss of a skip-gram of held-out lines, after each epoch.",
    "hit_rate_at_10": "The share of held-out lines whose last item was among the 10 best, after each epoch.",
    "word_pairs": "The rank correlation with the ratings of `--word_pairs`, after each epoch.",
    "analogies": "The share of `--analogies` that the vectors solve, after each epoch.",
}
_numbers = itertools.count()  # so that no two files of a process have the same name


class EventFile:
    """A file of points that TensorBoard shows.

    All values of a point are written together. This costs a twentieth of what tf.summary.scalar takes for them.

    Args:
        directory: where the file is made.
        first_step: the first step that the file may have a point of. Points of this and later steps in older files of
            the directory are no longer shown. They come from a run that was interrupted, and goes on at its checkpoint.
    """

    def __init__(self, directory: str, first_step: int) -> None:
        gfile.makedirs(directory)
        # TensorBoard finds the files by the word "tfevents", and reads them in the order of their names.
        now, number = int(time.time()), next(_numbers)
        name = f"events.out.tfevents.{now:010d}.{socket.gethostname()}.{os.getpid():07d}.{number:04d}.v2"
        self._writer = tf.io.TFRecordWriter(os.path.join(directory, name))
        self._described: set[str] = set()
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=first_step, session_log=SessionLog(status=SessionLog.START)))
        self.flush()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Writes a point, which may stay in memory for up to 30 seconds.

        Args:
            step: how many steps have been taken.
            values: the values by the name of their curve.
        """
        event = Event(step=step)
        for name, value in values.items():
            event.summary.MergeFrom(scalar_pb(name, value, _DESCRIPTIONS.get(name)))
            if name in self._described:
                event.summary.value[-1].ClearField("metadata")  # it is read where the curve begins
            self._described.add(name)
        self._write(event)
        if time.monotonic() - self._flushed_at >= _SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def flush(self) -> None:
        """Writes what is still in memory."""
        self._writer.flush()
        self._flushed_at = time.monotonic()

    def close(self) -> None:
        """Writes what is still in memory, and ends the file."""
        self._writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())


class Curves(keras.callbacks.Callback):
    """Writes up to 400 points of each curve, evenly over the run, and one more at the end of each epoch.

    The loss and the rates are those since the point before, so that a slow phase is seen. The scores have a point for
    each epoch. The callback must come before the one that saves checkpoints, so that a run that goes on from the end of
    an epoch has this point already.

    Args:
        directory: the directory for TensorBoard's files.
        throughput: what has been measured.
        total_steps: the number of steps of the whole run.
        has_accuracy: whether the format of the examples has an accuracy.
        scores: the scores of an epoch that has just ended, by name; empty within an epoch.
    """

    def __init__(
        self,
        directory: str,
        throughput: Throughput,
        total_steps: int,
        has_accuracy: bool,
        scores: Mapping[str, float],
    ) -> None:
        super().__init__()
        self._directory = directory
        self._throughput = throughput
        self._measured = throughput.later
        self._steps_between = -(-total_steps // _MOST_POINTS)
        self._has_accuracy = has_accuracy
        self._scores = scores
        self._file: EventFile | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes where the epoch begins."""
        self._step = self._last_step = int(self.model.optimizer.iterations)
        self._sums: dict[str, tuple[float, float]] = {}
        if self._file is None:
            self._file = EventFile(self._directory, self._step + 1)
            self._learning_rate = learning_rate_of(self.model.optimizer)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the metrics before the first step. Those of an interrupted epoch have been restored by then."""
        if not self._sums:
            self._sums = self._sums_of_metrics()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a point if enough steps have been taken since the last one."""
        assert logs is not None
        self._step += int(logs["steps"])
        if self._step - self._last_step >= self._steps_between:
            self._add()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a point with the scores, unless there is nothing new."""
        assert self._file is not None
        if self._step > self._last_step:
            self._add()
        elif self._scores:
            self._file.add(self._step, self._scores)
        self._file.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Writes what is still in memory."""
        if self._file is not None:
            self._file.flush()

    def _add(self) -> None:
        assert self._file is not None
        sums, measured = self._sums_of_metrics(), self._throughput.later
        values = {"learning_rate": self._learning_rate()}
        for name, (total, count) in sums.items():
            old_total, old_count = self._sums[name]
            if count > old_count:
                values[name] = (total - old_total) / (count - old_count)
        new = measured.minus(self._measured)
        if new.steps:  # the first measurement includes the compilation, and would only spoil the scale of the curve
            values |= self._throughput.rates_of(new)
        self._file.add(self._step, {**values, **self._scores})
        self._last_step, self._sums, self._measured = self._step, sums, measured

    def _sums_of_metrics(self) -> dict[str, tuple[float, float]]:
        metrics = [self.model.loss_per_skip_gram, *([self.model.accuracy] if self._has_accuracy else [])]
        return {metric.name: (float(metric.total), float(metric.count)) for metric in metrics}
