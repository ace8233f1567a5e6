"""How large a text's vocabulary is, told from a sample of the text. Pure NumPy.

The rates at which rare words occur are taken to follow a power law, with density C x^-(1+a) of words whose expected
count in the sample is x. A word's count in the sample, and in the rest of the text, is then Poisson, and all that is
needed has a closed form; the sample gives a and C by its words that occur once and twice.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

_LEAST_EXPONENT, _LARGEST_EXPONENT = 0.05, 0.95
_SUBSAMPLES = 20
_CERTAIN = 50  # a count of so many in the sample says well enough what it is in the text


def exponent(seen: np.ndarray) -> float:
    """The power law's a: words seen twice are to those seen once as (1 - a) to 2.

    Args:
        seen: [U] the sample's counts of its distinct words.
    """
    once, twice = np.count_nonzero(seen == 1), np.count_nonzero(seen == 2)
    return float(np.clip(1 - 2 * twice / max(once, 1), _LEAST_EXPONENT, _LARGEST_EXPONENT))


def frequent_probabilities(seen: np.ndarray, times: float, min_count: int) -> np.ndarray:
    """The probability that each word of the sample occurs at least `min_count` times in the text.

    A word seen m times has an expected count with density Gamma(m - a), so its count in the rest of the text has a
    negative binomial distribution.

    Args:
        seen: [U] int, the sample's counts of its distinct words.
        times: how many times the sample the text is.
        min_count: of the vocabulary.

    Returns:
        [U] float64.
    """
    if min_count / times > _CERTAIN:
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
    """How many words that the sample lacks occur at least `min_count` times in the text; arguments as above."""
    if min_count / times > _CERTAIN:
        return 0.0
    a = exponent(seen)
    counts = np.arange(2, min_count)  # ratios of the expected numbers of words with these counts to those with one less
    too_few = np.cumprod(np.concatenate(([1 - 1 / times], (counts - 1 - a) / counts * (1 - 1 / times))))
    at_all = (1 - times**-a) / a  # the same series, summed up to infinity
    once = np.count_nonzero(seen == 1)
    return float(once * times**a * max(0.0, at_all - (too_few.sum() if min_count > 1 else 0)))


def vocabulary_size(pieces: Sequence[Counter], times: float, min_count: int) -> float:
    """How many words occur at least `min_count` times in the text.

    No text follows the power law, and words come in clusters. How far the estimate is off is therefore measured: by
    how much it misses the sample's own vocabulary when it is made from a sample of the sample.

    Args:
        pieces: word counts of the pieces of text that are the sample.
        times: how many times the sample the text is.
        min_count: of the vocabulary.
    """
    sample = _counts(pieces)
    estimate = _expected_words(sample, times, min_count)
    parts = min(_SUBSAMPLES, round(times), len(pieces))
    if parts < 2:
        return estimate
    errors = []
    for part in (_counts(pieces[start::parts]) for start in range(parts)):
        expected = _expected_words(part, sample.sum() / max(1, part.sum()), min_count)
        if expected:
            errors.append(np.count_nonzero(sample >= min_count) / expected)
    correction = float(np.mean(errors)) if errors else 1.0
    return max(np.count_nonzero(sample >= min_count), estimate * correction ** (math.log(times) / math.log(parts)))


def _counts(pieces: Sequence[Counter]) -> np.ndarray:
    total = Counter()
    for piece in pieces:
        total.update(piece)
    return np.array(list(total.values()), np.int64)


def _expected_words(seen: np.ndarray, times: float, min_count: int) -> float:
    return frequent_probabilities(seen, times, min_count).sum() + unseen_words(seen, times, min_count)
