"""Estimates the size of a text's vocabulary from a sample of the text. Pure NumPy.

The model is a power law: the number of words whose expected count in the sample is x has the density C x^-(1+a). A
word's counts in the sample and in the rest of the text are Poisson distributed. Under this model all results have a
closed form, and the numbers of words that the sample holds once and twice give a and C.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

_SMALLEST_EXPONENT, _LARGEST_EXPONENT = 0.05, 0.95
_SUBSAMPLES = 20
_RELIABLE_COUNT = 50  # a word with this count in the sample has about the same share of the text


def exponent(seen: np.ndarray) -> float:
    """The power law's a.

    Under the power law, the number of words that the sample holds twice is (1 - a) / 2 of those it holds once.

    Args:
        seen: [U] how often the sample holds each of its distinct words.
    """
    once, twice = int(np.count_nonzero(seen == 1)), int(np.count_nonzero(seen == 2))
    return float(np.clip(1 - 2 * twice / max(once, 1), _SMALLEST_EXPONENT, _LARGEST_EXPONENT))


def frequent_probabilities(seen: np.ndarray, times: float, min_count: int) -> np.ndarray:
    """The probability that each word of the sample occurs at least `min_count` times in the text.

    If the sample holds a word m times, then its expected count is distributed as Gamma(m - a). So its count in the
    rest of the text has a negative binomial distribution.

    Args:
        seen: [U] int, how often the sample holds each of its distinct words.
        times: how many times as large as the sample the text is.
        min_count: how often a word of the vocabulary must occur in the text.

    Returns:
        [U] float64.
    """
    if min_count / times > _RELIABLE_COUNT:
        return (seen * times >= min_count).astype(np.float64)
    a = exponent(seen)
    probabilities = np.ones(len(seen))
    for count in np.unique(seen[seen < min_count]):
        missing = np.arange(1, min_count - count)
        ratios = (count - a + missing - 1) / missing * (1 - 1 / times)
        too_few = np.sum(np.cumprod(np.concatenate(([times ** -(count - a)], ratios))))
        probabilities[seen == count] = 1 - too_few
    return probabilities


def unseen_words(seen: np.ndarray, times: float, min_count: int) -> float:
    """How many words that the sample lacks occur at least `min_count` times in the text.

    The arguments are those of frequent_probabilities.
    """
    if min_count / times > _RELIABLE_COUNT:
        return 0.0
    a = exponent(seen)
    # The expected numbers of words with the counts 1, 2.. min_count - 1, from the ratio of each to the one before it.
    counts = np.arange(2, min_count)
    too_few = np.cumprod(np.concatenate(([1 - 1 / times], (counts - 1 - a) / counts * (1 - 1 / times))))
    at_all = (1 - times**-a) / a  # the sum of the same series for all counts
    once = np.count_nonzero(seen == 1)
    return float(once * times**a * max(0.0, at_all - (too_few.sum() if min_count > 1 else 0)))


def vocabulary_size(pieces: Sequence[Counter[bytes]], times: float, min_count: int) -> float:
    """How many words occur at least `min_count` times in the text.

    No text follows the power law exactly, and words come in clusters. So the error of the estimate is measured on the
    sample: its own vocabulary is known, and is also estimated from parts of it. The result is corrected by that error.

    Args:
        pieces: the word counts of each piece of text in the sample.
        times: how many times as large as the sample the text is.
        min_count: how often a word of the vocabulary must occur in the text.
    """
    sample = _counts(pieces)
    estimate = _expected_words(sample, times, min_count)
    num_parts = min(_SUBSAMPLES, round(times), len(pieces))
    if num_parts < 2:
        return estimate
    errors = []
    for part in (_counts(pieces[start::num_parts]) for start in range(num_parts)):
        expected = _expected_words(part, sample.sum() / max(1, part.sum()), min_count)
        if expected:
            errors.append(np.count_nonzero(sample >= min_count) / expected)
    correction = float(np.mean(errors)) if errors else 1.0
    corrected = estimate * float(correction ** (math.log(times) / math.log(num_parts)))
    return max(corrected, float(np.count_nonzero(sample >= min_count)))


def _counts(pieces: Sequence[Counter[bytes]]) -> np.ndarray:
    total: Counter[bytes] = Counter()
    for piece in pieces:
        total.update(piece)
    return np.array(list(total.values()), np.int64)


def _expected_words(seen: np.ndarray, times: float, min_count: int) -> float:
    return float(frequent_probabilities(seen, times, min_count).sum()) + unseen_words(seen, times, min_count)
