"""Ends a training run whose loss has left every bound, before its vectors replace anything."""

import math
from typing import Any

import keras

from trainer.config import TrainerConfig
from trainer.errors import UserError
from trainer.manifest import Manifest

_FACTOR = 2.0  # a loss above so many times that of a model that knows nothing is no longer learning
_STEPS = 100  # so many steps in a row; a few steps with a high loss are usual at the start


class Diverged(UserError):
    """The training has diverged: the loss or the vectors are of no use any more."""


def untrained_loss(loss: str, num_negatives: int) -> float:
    """The loss per skip-gram of a model that knows nothing, whose logits are all 0.

    It is (1 + K) ln 2 for the logistic loss of a context word and K negative samples, and ln(1 + K) for softmax.
    """
    return math.log(1 + num_negatives) if loss == "softmax" else (1 + num_negatives) * math.log(2)


class StopOnDivergence(keras.callbacks.Callback):
    """Raises Diverged if the loss is not a number, or has been far too high for 100 steps in a row.

    It must come before the callback that saves checkpoints, so that no checkpoint of a diverged model is saved.

    Args:
        config: the settings of the run.
        manifest: the manifest of the dataset.
    """

    def __init__(self, config: TrainerConfig, manifest: Manifest) -> None:
        super().__init__()
        self._rate = config.learning_rate
        self._limit = _FACTOR * untrained_loss(config.loss, manifest.num_negatives)
        self._steps_above = 0
        self._latest = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts to count the steps of an epoch. The metric has been reset, or restored from a checkpoint."""
        self._epoch = epoch
        self._last_batch = -1
        self._before = self._sums()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the loss of the steps since the last look."""
        total, count = self._sums()
        steps, self._last_batch = batch - self._last_batch, batch
        if math.isfinite(total) and count <= self._before[1]:
            return  # these steps had no skip-gram
        self._latest = (total - self._before[0]) / (count - self._before[1])
        self._before = (total, count)
        self._steps_above = self._steps_above + steps if self._latest > self._limit else 0
        if not math.isfinite(self._latest) or self._steps_above >= _STEPS:
            self._stop(f"epoch {self._epoch + 1}, step {batch + 1:,}")

    def check_end(self) -> None:
        """Raises Diverged if the loss of the last steps of the run was far too high."""
        if self._steps_above:
            self._stop("the end")

    def _stop(self, where: str) -> None:
        raise Diverged(
            f"--learning_rate {self._rate:g}: the training has diverged, so nothing is exported: the loss is "
            f"{self._latest:.3g} per skip-gram at {where}, and should be below {self._limit:.3g}; expected a lower rate"
        )

    def _sums(self) -> tuple[float, float]:
        metric = self.model.loss_per_skip_gram
        return float(metric.total), float(metric.count)
