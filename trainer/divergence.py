"""Ends a training run whose loss has left every bound, before its vectors replace anything."""

import math
from typing import Any

import keras

from trainer.config import TrainerConfig
from trainer.errors import UserError
from trainer.manifest import Manifest

_FACTOR = 2.0  # a loss above so many times that of a model that knows nothing is no longer learning
_STEPS = 100  # so many steps in a row; a few steps with a high loss are usual at the start
_SKIP_GRAMS = 100  # a loss is the mean over so many at least; that of a single one can be high in every model


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
        self._config = config
        self._limit = _FACTOR * untrained_loss(config.loss, manifest.num_negatives)
        self._steps_above = 0
        self._latest = 0.0
        self._steps, self._loss, self._skip_grams = 0, 0.0, 0.0  # since the last look

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch, for messages."""
        self._epoch, self._step = epoch, 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the metric before some steps."""
        self._before = self._sums()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the loss of the steps since the last look, if they had enough skip-grams."""
        assert logs is not None
        (old_loss, old_skip_grams), (loss, skip_grams) = self._before, self._sums()
        self._step += int(logs["steps"])
        self._steps += int(logs["steps"])
        self._loss += loss - old_loss
        self._skip_grams += skip_grams - old_skip_grams
        if self._skip_grams < _SKIP_GRAMS and math.isfinite(self._loss):
            return
        self._latest = self._loss / self._skip_grams if self._skip_grams else self._loss
        self._steps_above = self._steps_above + self._steps if self._latest > self._limit else 0
        self._steps, self._loss, self._skip_grams = 0, 0.0, 0.0
        if not math.isfinite(self._latest) or self._steps_above >= _STEPS:
            self._stop(f"epoch {self._epoch + 1}, step {self._step:,}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Raises Diverged if the run ends here and its last loss was far too high."""
        if epoch + 1 == self._config.epochs and self._steps_above:
            self._stop("the end")

    def _stop(self, where: str) -> None:
        batch_size = self._config.batch_size
        or_smaller = f", or a smaller --batch_size than {batch_size:,}" if batch_size > 1 else ""
        raise Diverged(
            f"--learning_rate {self._config.learning_rate:g}: the training has diverged, so nothing is exported: the "
            f"loss is {self._latest:.3g} per skip-gram at {where}, and should be below {self._limit:.3g}; "
            f"expected a lower rate{or_smaller}"
        )

    def _sums(self) -> tuple[float, float]:
        metric = self.model.loss_per_skip_gram
        return float(metric.total), float(metric.count)
