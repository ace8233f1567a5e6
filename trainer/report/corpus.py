"""What the report shows of a corpus: what is most frequent, what it covers of the text, and how long the lines are."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

_LENGTHS = re.compile(r"lines_of_(\d+)(?:_to_(\d+))?_words?")  # the pipeline's counters


def thinned(size: int, most: int = 300) -> np.ndarray:
    """Rows that are evenly spread on a logarithmic scale, the first and the last among them.

    >>> thinned(4).tolist()
    [0, 1, 2, 3]
    >>> thinned(1000, 5).tolist()
    [0, 5, 31, 177, 999]

    Args:
        size: the number of rows.
        most: how many to choose at most.

    Returns:
        [at most `most`] int64, ascending.
    """
    return np.unique(np.geomspace(1, max(1, size), most).round().astype(np.int64) - 1)[: max(0, size)]


def coverage(counts: np.ndarray, num_words: int) -> np.ndarray:
    """The share of the text that the 1, 2, .. n most frequent words cover, [n] float64.

    Args:
        counts: [n] int64, in falling order.
        num_words: the number of words in the text.
    """
    shares: np.ndarray = np.cumsum(counts) / max(1, num_words)
    return shares


def size_for(shares: np.ndarray, share: float) -> int | None:
    """How many of the most frequent words cover a share of the text; None if all of them cover less.

    Args:
        shares: what `coverage` returns.
        share: from 0 to 1.
    """
    size = int(np.searchsorted(shares, share)) + 1
    return size if size <= len(shares) else None


def lengths_of_lines(counters: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """The histogram of the numbers of words in lines; empty for a dataset that does not have it.

    >>> lengths_of_lines({"lines_of_2_to_3_words": 5, "lines_of_0_words": 1, "lines_empty": 9})
    [(0, 0, 1), (1, 1, 0), (2, 3, 5)]

    Args:
        counters: those of the manifest.

    Returns:
        For each bin without a gap: the fewest words, the most words, and the number of lines.
    """
    bins = {}
    for name, count in counters.items():
        if found := _LENGTHS.fullmatch(name):
            first = int(found[1])
            bins[first] = (first, int(found[2] or first), count)
    firsts = [0, *(1 << power for power in range(max(bins, default=0).bit_length()))] if bins else []
    empty: Sequence[tuple[int, int, int]] = [(first, max(first, 2 * first - 1), 0) for first in firsts]
    return [bins.get(each[0], each) for each in empty]
