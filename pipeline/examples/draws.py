"""Everything that is random: which words stay, how wide a window is, which words are negatives. Pure NumPy."""

import numpy as np

from pipeline.dataset.layout import FIRST_WORD_ID
from pipeline.errors import UserError

# A key is a random number that a word gets in _draw_smallest_keys.
_KEY_COST = 10  # how long making and sorting a key takes, in comparisons of _draw_again
_KEYS_HELD = 4_000_000
_MOST_PARTS = 1 << 20  # of the table in Noise, which then takes 4 MB


def keep_probabilities(counts: np.ndarray, threshold: float, first_id: int = FIRST_WORD_ID) -> np.ndarray:
    """The probability that subsampling keeps an occurrence of each id.

    It is min(1, sqrt(t/f) + t/f), where f is the word's share of the text's words. word2vec.c and gensim do the same.

    Args:
        counts: [V] int64, occurrences by id.
        threshold: t; 0 keeps every word.
        first_id: the first id that text is made of. The counts of the ids below it are ignored.

    Returns:
        [V] float64; 0 for the ids below first_id, which are never kept.
    """
    keep = np.ones(len(counts))
    words = np.maximum(counts[first_id:], 1)  # [UNK] and the words of a given vocabulary may never occur
    if threshold > 0:
        num_words = words.sum() - np.count_nonzero(counts[FIRST_WORD_ID:] == 0)
        ratio = threshold * num_words / words
        keep[first_id:] = np.minimum(1.0, np.sqrt(ratio) + ratio)
    keep[:first_id] = 0
    return keep


def zipf_keep_probabilities(vocab_size: int, threshold: float) -> np.ndarray:
    """The probability that a word of each id is a target, guessed from the id alone.

    Ids are in the order of frequency, so an id is a word's rank r. Zipf's law gives its share f of the text's words:
    1/f = r (ln r + gamma) + 1/2 - 1/(12 r). The probability is min(1, sqrt(t/f)), as in Keras's make_sampling_table.
    Id 0 counts as rank 1.

    Args:
        vocab_size: V.
        threshold: t; 0 keeps every target.

    Returns:
        [V] float64.
    """
    if threshold <= 0:
        return np.ones(vocab_size)
    rank = np.maximum(np.arange(vocab_size), 1)
    inverse_frequency = rank * (np.log(rank) + 0.577) + 0.5 - 1 / (12 * rank)
    return np.minimum(1.0, np.sqrt(threshold * inverse_frequency))


def noise_cdf(counts: np.ndarray, exponent: float, first_id: int = FIRST_WORD_ID) -> np.ndarray:
    """The cumulative noise distribution in which a word's weight is count ** exponent (Mikolov et al. 2013).

    Args:
        counts: [V] int64, occurrences by id.
        exponent: 1 draws words as often as they occur, 0 draws all words equally often.
        first_id: ids below it are never drawn.

    Returns:
        [V] float64, whose last element is 1.
    """
    weights = np.zeros(len(counts))
    weights[first_id:] = np.maximum(counts[first_id:], 1).astype(np.float64) ** exponent * (counts[first_id:] > 0)
    cdf = np.cumsum(weights)
    cdf /= cdf[-1]
    return cdf


def log_uniform_cdf(vocab_size: int, first_id: int = FIRST_WORD_ID) -> np.ndarray:
    """The cumulative noise distribution in which the weight of id k is ln((k + 2) / (k + 1)).

    tf.random.log_uniform_candidate_sampler draws from the same distribution, but over all ids.

    Args:
        vocab_size: V.
        first_id: ids below it are never drawn.

    Returns:
        [V] float64, whose last element is 1.
    """
    ids = np.arange(vocab_size)
    cdf = np.cumsum(np.log((ids + 2) / (ids + 1)) * (ids >= first_id))
    cdf /= cdf[-1]
    return cdf


class Noise:
    """A noise distribution, with a table that finds most drawn words without a search.

    The table divides the numbers from 0 to 1 into parts of equal length. Most parts lie within the numbers of one word.

    Args:
        cdf: [V] float64, the cumulative noise distribution.
    """

    def __init__(self, cdf: np.ndarray) -> None:
        self.cdf = cdf
        self._parts = min(1 << (16 * len(cdf)).bit_length(), _MOST_PARTS)  # a power of two, so that scaling is exact
        first = np.searchsorted(cdf, np.arange(self._parts + 1) / self._parts, side="right").astype(np.int32)
        self._word = np.where(first[:-1] == first[1:], first[:-1], -1)  # [parts], -1 where several words share a part

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Draws words with replacement.

        Args:
            shape: how many words to draw.
            rng: the random stream.

        Returns:
            Ids, int32 of `shape`.
        """
        numbers = rng.random(shape)
        words = self._word[(numbers * self._parts).astype(np.int32)]
        shared = words < 0
        words[shared] = np.searchsorted(self.cdf, numbers[shared], side="right")
        return words


def draw_unique_negatives(
    noise: Noise, contexts: np.ndarray, num_negatives: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws K different negative samples for each skip-gram; none is the skip-gram's own context word.

    They are drawn one after the other, each from the words that the skip-gram does not have yet.

    Args:
        noise: the noise distribution.
        contexts: [P] the skip-grams' context words.
        num_negatives: K.
        rng: the random stream.

    Returns:
        [P, K] int32.

    Raises:
        UserError: the distribution has fewer than K + 1 words, so K and a context word do not fit in.
    """
    weights = np.diff(noise.cdf, prepend=0.0)
    words = np.flatnonzero(weights)
    if len(words) <= num_negatives:
        raise UserError(
            f"--num_negatives {num_negatives}: the vocabulary has {len(words)} words, one of which is the context "
            f"word: expected at most {len(words) - 1}"
        )
    if _comparisons(weights[words], num_negatives) < _KEY_COST * len(words):
        return _draw_again(noise, contexts, num_negatives, rng)
    return _draw_smallest_keys(words, weights[words], contexts, num_negatives, rng)


def _comparisons(weights: np.ndarray, num_negatives: int) -> float:
    """About how many comparisons _draw_again makes at most for a skip-gram.

    A skip-gram that has n words compares each draw with them. At worst they are the n most likely ones, so that a draw
    is a new word with the probability of all others.
    """
    falling = np.sort(weights)[::-1]
    others = np.cumsum(falling[::-1])[::-1]  # the probability of the n-th word in this order and all after it
    return float(np.sum(np.arange(1, num_negatives + 1) / others[1 : num_negatives + 1]))


def _draw_again(noise: Noise, contexts: np.ndarray, num_negatives: int, rng: np.random.Generator) -> np.ndarray:
    """Draws a word again if the skip-gram already has it. It is fast if that seldom happens."""
    drawn = np.empty((len(contexts), num_negatives + 1), np.int32)
    drawn[:, 0] = contexts
    for column in range(1, num_negatives + 1):
        rows = np.arange(len(contexts))
        while len(rows):
            drawn[rows, column] = noise.draw((len(rows),), rng)
            rows = rows[(drawn[rows, :column] == drawn[rows, column, np.newaxis]).any(axis=1)]
    return drawn[:, 1:]


def _draw_smallest_keys(
    words: np.ndarray, weights: np.ndarray, contexts: np.ndarray, num_negatives: int, rng: np.random.Generator
) -> np.ndarray:
    """Gives every word a random key, and takes the words with the smallest keys. The time does not depend on chance.

    A key is an exponential random number over the word's weight. The order of such keys has the distribution of draws
    one after the other (Efraimidis and Spirakis 2006).

    Args:
        words: [n] the words that may be drawn.
        weights: [n] float64, the weight of each, above 0.
        contexts: [P] the skip-grams' context words.
        num_negatives: K, below n.
        rng: the random stream.

    Returns:
        [P, K] int32.
    """
    drawn = np.empty((len(contexts), num_negatives), np.int32)
    size = max(1, _KEYS_HELD // len(words))
    for start in range(0, len(contexts), size):
        context = contexts[start : start + size]
        keys = rng.standard_exponential((len(context), len(words))) / weights
        keys[words == context[:, np.newaxis]] = np.inf
        smallest = np.argpartition(keys, num_negatives - 1, axis=1)[:, :num_negatives]
        order = np.argsort(np.take_along_axis(keys, smallest, axis=1), axis=1)
        drawn[start : start + size] = words[np.take_along_axis(smallest, order, axis=1)]
    return drawn


def draw_radii(num_targets: int, window_size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws window radii, [num_targets] int64, uniform on 1..window_size, as word2vec.c does."""
    return rng.integers(1, window_size + 1, num_targets)


def reach_probabilities(window_size: int) -> tuple[float, ...]:
    """The probability that a radius from draw_radii reaches a word at distance 1, 2.. window_size."""
    return tuple((window_size + 1 - distance) / window_size for distance in range(1, window_size + 1))
