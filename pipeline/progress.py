"""Progress that a person can follow. The workers log it, since local runners report nothing until a job has ended."""

import logging
import time

_SECONDS_BETWEEN = 10

logger = logging.getLogger("pipeline")


class Progress:
    """Logs a growing amount, at most once in ten seconds.

    Args:
        message: a %-format for the amount.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._amount = 0.0
        self._next = time.monotonic() + _SECONDS_BETWEEN

    def add(self, amount: float) -> None:
        """Adds to the amount."""
        self._amount += amount
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN
            logger.info(self._message, self._amount)
