"""Measures how fast the training goes, and how long it waits for its input."""

import time
from typing import Any, NamedTuple

import keras

from trainer.dataset import Dataset


class Measured(NamedTuple):
    """Some steps of the training, and the time that they took."""

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0  # the seconds of these in which the steps waited for their input

    def plus(self, other: "Measured") -> "Measured":
        """The steps of both."""
        return Measured(self.steps + other.steps, self.seconds + other.seconds, self.waited + other.waited)

    def minus(self, earlier: "Measured") -> "Measured":
        """The steps that have come since an earlier measurement of the same run."""
        return Measured(self.steps - earlier.steps, self.seconds - earlier.seconds, self.waited - earlier.waited)


class Throughput(keras.callbacks.Callback):
    """Measures the steps of a run.

    It must come before the callbacks that use what it has measured.

    The first measurement includes the compilation of the step. It is used only until a later one exists.

    Args:
        dataset: the dataset that the model is trained on.
        steps_per_epoch: the number of steps that take the model once through the dataset.
    """

    def __init__(self, dataset: Dataset, steps_per_epoch: int) -> None:
        super().__init__()
        self._words_per_step = dataset.words_per_epoch / steps_per_epoch
        self._skip_grams_per_step = dataset.skip_grams_per_epoch / steps_per_epoch
        self._first: Measured | None = None
        self.later = Measured()  # all steps but those of the first measurement

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock of an epoch."""
        self._measured_at = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the steps since the last call."""
        assert logs is not None
        waited = float(logs["input_wait"])  # converting the tensor also waits until the steps are done
        now = time.perf_counter()
        self.add(Measured(int(logs["steps"]), now - self._measured_at, waited))
        self._measured_at = now

    def add(self, measured: Measured) -> None:
        """Adds a measurement."""
        if self._first is None:
            self._first = measured
        else:
            self.later = self.later.plus(measured)

    @property
    def rates(self) -> dict[str, float]:
        """words_per_second (before subsampling), skip_grams_per_second, and input_wait_fraction (0 to 1)."""
        return self.rates_of(self._best)

    def rates_of(self, measured: Measured) -> dict[str, float]:
        """The same rates for some steps, of which there is at least one."""
        return {
            "words_per_second": measured.steps * self._words_per_step / measured.seconds,
            "skip_grams_per_second": measured.steps * self._skip_grams_per_step / measured.seconds,
            "input_wait_fraction": measured.waited / measured.seconds,
        }

    def seconds_for(self, steps: int) -> float:
        """Estimates how many seconds so many steps will take."""
        return steps * self._best.seconds / max(1, self._best.steps)

    @property
    def _best(self) -> Measured:
        return self.later if self.later.steps else (self._first or Measured(0, 1.0, 0.0))
