"""How long the lines of a corpus are: a histogram whose bins are powers of two, kept as counters of the manifest."""

import numpy as np


def counts_of_lengths(lengths: np.ndarray) -> dict[str, int]:
    """How many lines have how many words.

    >>> counts_of_lengths(np.array([0, 1, 2, 3, 3, 9]))
    {'lines_of_0_words': 1, 'lines_of_1_word': 1, 'lines_of_2_to_3_words': 3, 'lines_of_8_to_15_words': 1}

    Args:
        lengths: [n] int64, the number of words in each line.

    Returns:
        The number of lines in each bin that has any, by the name of its counter. A bin holds the lengths from a power
        of two to the next, such as 4 to 7. There is also a bin for lines without words.
    """
    bins, counts = np.unique(np.frexp(lengths)[1], return_counts=True)  # 4 to 7 are 0.5 to 1 times 2 to the power 3
    return {_counter(int(number)): int(count) for number, count in zip(bins, counts, strict=True)}


def _counter(number: int) -> str:
    """The name of the counter of the bin whose lengths have so many binary digits."""
    first, last = (1 << number) >> 1, (1 << number) - 1
    if first == last:
        return "lines_of_1_word" if first == 1 else "lines_of_0_words"
    return f"lines_of_{first}_to_{last}_words"
