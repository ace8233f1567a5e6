"""What a person sees while the training runs: a line of progress, and TensorBoard's curves."""

import sys
import time

import keras
import tensorflow as tf

from trainer.dataset import Dataset

_SECONDS_BETWEEN = {True: 0.2, False: 10.0}  # lines of progress, on a terminal or not


class Throughput:
    """How fast the training goes, once the step is compiled, and how long it waits for its input.

    Args:
        dataset: what is trained on.
        steps_per_epoch: in how many steps.
    """

    def __init__(self, dataset: Dataset, steps_per_epoch: int):
        self._words_per_step = dataset.words_per_epoch / steps_per_epoch
        self._skip_grams_per_step = dataset.skip_grams_per_epoch / steps_per_epoch
        self._first = None  # what came first and held the compilation; counts only as long as there is nothing else
        self._later = (0, 0.0, 0.0)

    def add(self, steps: int, seconds: float, waited: float) -> None:
        """Counts steps, the time that they took, and how much of it they waited for input."""
        added = (steps, seconds, waited)
        if self._first is None:
            self._first = added
        else:
            self._later = tuple(sum(pair) for pair in zip(self._later, added, strict=True))

    @property
    def rates(self) -> dict[str, float]:
        """words_per_second (before subsampling), skip_grams_per_second and input_wait_fraction (0 to 1)."""
        steps, seconds, waited = self._measured
        return {
            "words_per_second": steps * self._words_per_step / seconds,
            "skip_grams_per_second": steps * self._skip_grams_per_step / seconds,
            "input_wait_fraction": waited / seconds,
        }

    def seconds_for(self, steps: int) -> float:
        """How long that many steps will take."""
        measured_steps, seconds, _ = self._measured
        return steps * seconds / max(1, measured_steps)

    @property
    def _measured(self) -> tuple[int, float, float]:
        return self._later if self._later[0] else (self._first or (0, 1.0, 0.0))


class Progress(keras.callbacks.Callback):
    """Prints a line of progress and writes TensorBoard scalars.

    Scalars are loss (per skip-gram, since the last point), learning_rate, and those of Throughput.rates.

    With pairs there is the accuracy of the epoch as well.

    Args:
        throughput: is kept up to date here.
        epochs, steps_per_epoch: of the whole run.
        has_pairs: whether the examples are pairs.
        log_dir: where TensorBoard looks.
    """

    def __init__(self, throughput: Throughput, epochs: int, steps_per_epoch: int, has_pairs: bool, log_dir: str):
        super().__init__()
        self._has_pairs = has_pairs
        self._throughput = throughput
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._writer = tf.summary.create_file_writer(log_dir)
        self._is_terminal = sys.stdout.isatty()
        self._printed = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock of an epoch."""
        self._epoch = epoch
        self._last_batch = -1
        metric = self.model.loss_per_skip_gram
        self._last_loss = (float(metric.total), float(metric.count))
        self._time = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Measures; prints and writes when it is time."""
        waited = float(logs["input_wait"])  # also waits until the steps are done
        now = time.perf_counter()
        self._throughput.add(batch - self._last_batch, now - self._time, waited)
        self._time, self._last_batch = now, batch
        if now - self._printed >= _SECONDS_BETWEEN[self._is_terminal]:
            self._printed = now
            self._report(logs)

    def on_epoch_end(self, epoch, logs=None):
        """Prints the epoch's loss."""
        self._report(logs, end="\n")

    def on_train_end(self, logs=None):
        """Writes what is left."""
        self._writer.flush()

    def _report(self, logs: dict, end: str = "") -> None:
        done = int(self.model.optimizer.iterations)
        rates = self._throughput.rates
        rate = float(self.model.optimizer.learning_rate)
        left = self._throughput.seconds_for(self._epochs * self._steps_per_epoch - done)
        share = (done - self._epoch * self._steps_per_epoch) / self._steps_per_epoch
        accuracy = f"accuracy {float(logs['accuracy']):.4f}  " if self._has_pairs else ""
        line = (
            f"epoch {self._epoch + 1}/{self._epochs} {share:4.0%}  "
            f"loss {float(logs['loss']):.4f}  {accuracy}rate {rate:.4f}  "
            f"{rates['words_per_second']:,.0f} words/s  {int(left) // 60}:{int(left) % 60:02d} left"
        )
        if self._is_terminal:
            print(f"\r{line:<79}", end=end, flush=True)
        else:
            print(line, flush=True)

        metric = self.model.loss_per_skip_gram
        total, count = float(metric.total), float(metric.count)
        with self._writer.as_default(step=done):
            if self._has_pairs:
                tf.summary.scalar("accuracy", float(logs["accuracy"]))
            if count > self._last_loss[1]:
                tf.summary.scalar("loss", (total - self._last_loss[0]) / (count - self._last_loss[1]))
            tf.summary.scalar("learning_rate", rate)
            for name, value in rates.items():
                tf.summary.scalar(name, value)
        self._last_loss = (total, count)
