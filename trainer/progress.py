"""Tells how far the training is: as a bar on a terminal, and as a line now and then in a log."""

import time
from collections.abc import Mapping
from typing import Any

import keras

from trainer import news
from trainer.optimizer import learning_rate_of
from trainer.throughput import Throughput

_SECONDS_BETWEEN_BARS = 0.2
_SECONDS_TO_FIRST_LINE = 2.0
_SECONDS_BETWEEN_LINES = 10.0


class Progress(keras.callbacks.Callback):
    """Tells how far the training is, and what each epoch has come to.

    Args:
        throughput: what has been measured.
        has_accuracy: whether the format of the examples has an accuracy.
        epochs: the number of epochs of the whole run.
        steps_per_epoch: the number of steps in each of them.
        scores: the scores of an epoch that has just ended, by name; empty within an epoch.
    """

    def __init__(
        self,
        throughput: Throughput,
        has_accuracy: bool,
        epochs: int,
        steps_per_epoch: int,
        scores: Mapping[str, float],
    ) -> None:
        super().__init__()
        self._throughput = throughput
        self._has_accuracy = has_accuracy
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._scores = scores
        self._told: dict[str, str] = {}  # the scores that were told last
        self._next = time.monotonic() + (0.0 if news.has_line() else _SECONDS_TO_FIRST_LINE)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch
        self._learning_rate = learning_rate_of(self.model.optimizer)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Draws the bar, or tells how far the epoch is if the last line was some time ago."""
        assert logs is not None
        if time.monotonic() < self._next:
            return
        if news.has_line():
            self._next = time.monotonic() + _SECONDS_BETWEEN_BARS
            share, texts = self._texts(logs)
            news.show(self._title, share, [*self._told.values(), *reversed(texts)])
        else:
            self._next = time.monotonic() + _SECONDS_BETWEEN_LINES
            self._tell(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells what the epoch has come to."""
        assert logs is not None
        self._told = {name: f"{name} {value:.4f}" for name, value in self._scores.items()}
        self._tell(logs)

    @property
    def _title(self) -> str:
        return f"epoch {self._epoch + 1}/{self._epochs}"

    def _tell(self, logs: dict[str, Any]) -> None:
        share, (left, loss, words_per_second, rate, *accuracy) = self._texts(logs)
        scores = [f"{name} {value:.4f}" for name, value in self._scores.items()]
        told = [f"{self._title} {share:4.0%}", loss, *accuracy, *scores, rate, words_per_second, left]
        news.logger.info("%s", "  ".join(told))

    def _texts(self, logs: dict[str, Any]) -> tuple[float, list[str]]:
        """How much of the epoch is done, and what is told of it, the most important first."""
        steps_done = int(self.model.optimizer.iterations)
        seconds = int(self._throughput.seconds_for(self._epochs * self._steps_per_epoch - steps_done))
        texts = [
            f"{seconds // 60}:{seconds % 60:02d} left",
            f"loss {float(logs['loss']):.4f}",
            f"{self._throughput.rates['words_per_second']:,.0f} words/s",
            f"rate {self._learning_rate():.4f}",
        ]
        if self._has_accuracy:
            texts.append(f"accuracy {float(logs['accuracy']):.4f}")
        return (steps_done - self._epoch * self._steps_per_epoch) / self._steps_per_epoch, texts
