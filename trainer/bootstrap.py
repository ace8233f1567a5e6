"""Bootstrap intervals: how far a mean over sessions may be from that over all sessions that might have come."""

import numpy as np

_RESAMPLES = 1000
_CONFIDENCE = 0.95
_NUMBERS_AT_ONCE = 1 << 23


def intervals(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """The 95 % intervals of the means of some columns, by the bootstrap's percentiles.

    A resample draws as many rows as there are, with replacement. All columns are drawn together. Equal rows are drawn
    as one, by the multinomial distribution, so the time depends on the number of different rows.

    Args:
        values: [S, M], a row for each session.
        seed: the seed of the draws.

    Returns:
        [M, 2], the lower and the upper ends.
    """
    rows, counts = np.unique(values, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    size = len(values)
    means = [
        rng.multinomial(size, counts / size, num) @ rows / size
        for num in _parts(_RESAMPLES, max(1, _NUMBERS_AT_ONCE // len(rows)))
    ]
    tail = (1 - _CONFIDENCE) / 2
    return np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0).T


def _parts(total: int, largest: int) -> list[int]:
    """Divides a number into parts that are not larger than `largest`."""
    return [min(largest, total - start) for start in range(0, total, largest)]
