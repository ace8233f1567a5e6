"""What is drawn at random: which words stay, how wide a window is, which words are negatives. Pure NumPy."""

import hashlib
import json

import numpy as np

from pipeline.dataset.layout import FIRST_WORD_ID
from pipeline.errors import UserError


def random_stream(*key: str | int) -> np.random.Generator:
    """A generator whose draws are a function of `key` alone, whichever worker asks and whenever.

    Philox (Salmon et al. 2011) is counter-based, so streams with different keys are independent.

    Args:
        *key: the seed and what names the stream: the pass, the stage, the file, the text block's byte offset.
    """
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype="<u8")))


def keep_probabilities(counts: np.ndarray, threshold: float, first_id: int = FIRST_WORD_ID) -> np.ndarray:
    """The probability that subsampling keeps an occurrence of each id.

    min(1, sqrt(t/f) + t/f), where f is a word's share of the text's words (word2vec.c, gensim).

    Args:
        counts: [V] int64, occurrences by id.
        threshold: t; 0 keeps every word.
        first_id: ids below it are no words of the text; their counts are ignored.

    Returns:
        [V] float64; 0 for ids below first_id, which are never kept.
    """
    keep = np.ones(len(counts))
    words = np.maximum(counts[first_id:], 1)  # [UNK] may have none
    if threshold > 0:
        ratio = threshold * words.sum() / words
        keep[first_id:] = np.minimum(1.0, np.sqrt(ratio) + ratio)
    keep[:first_id] = 0
    return keep


def zipf_keep_probabilities(vocab_size: int, threshold: float) -> np.ndarray:
    """The same guessed from an id's rank alone, as by Keras's make_sampling_table.

    min(1, sqrt(t/f)) where 1/f = r (ln r + gamma) + 1/2 - 1/(12 r), Zipf's law for rank r; id 0 counts as rank 1.

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
    """The cumulative unigram noise distribution, count ** exponent (Mikolov et al. 2013).

    Args:
        counts: [V] int64, occurrences by id.
        exponent: of the counts.
        first_id: ids below it are never drawn.

    Returns:
        [V] float64 that ends in 1.
    """
    weights = np.zeros(len(counts))
    weights[first_id:] = counts[first_id:].astype(np.float64) ** exponent * (counts[first_id:] > 0)
    cdf = np.cumsum(weights)
    return cdf / cdf[-1]


def log_uniform_cdf(vocab_size: int, first_id: int = FIRST_WORD_ID) -> np.ndarray:
    """The cumulative log-uniform noise distribution, ln((k + 2) / (k + 1)) for id k, over the ids from first_id.

    That of tf.random.log_uniform_candidate_sampler, without the ids that are no words. [V] float64 that ends in 1.
    """
    ids = np.arange(vocab_size)
    cdf = np.cumsum(np.log((ids + 2) / (ids + 1)) * (ids >= first_id))
    return cdf / cdf[-1]


def draw_negatives(cdf: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Words drawn from the noise distribution with replacement, int32 of `shape`."""
    return np.searchsorted(cdf, rng.random(shape), side="right").astype(np.int32)


def draw_unique_negatives(
    cdf: np.ndarray, contexts: np.ndarray, num_negatives: int, rng: np.random.Generator
) -> np.ndarray:
    """Negative samples of skip-grams one by one: all different, and none the skip-gram's own context word.

    What is drawn against that rule is drawn again, so the distribution is that of drawing one after the other.

    Args:
        cdf: [V] the cumulative noise distribution.
        contexts: [P] the skip-grams' context words.
        num_negatives: K.
        rng: the random stream.

    Returns:
        [P, K] int32.

    Raises:
        UserError: the distribution has not K words besides a context word.
    """
    if np.count_nonzero(np.diff(cdf, prepend=0.0)) <= num_negatives:
        raise UserError(f"--num_negatives {num_negatives}: the vocabulary has not so many words besides a context word")
    drawn = np.empty((len(contexts), num_negatives + 1), np.int32)
    drawn[:, 0] = contexts
    for column in range(1, num_negatives + 1):
        rows = np.arange(len(contexts))
        while len(rows):
            drawn[rows, column] = draw_negatives(cdf, (len(rows),), rng)
            rows = rows[(drawn[rows, :column] == drawn[rows, column, np.newaxis]).any(axis=1)]
    return drawn[:, 1:]


def draw_radii(num_targets: int, window_size: int, rng: np.random.Generator) -> np.ndarray:
    """Window radii, [num_targets] int64, uniform on 1..window_size, as word2vec.c's."""
    return rng.integers(1, window_size + 1, num_targets)


def context_weights(window_size: int) -> list[float]:
    """The probability that a radius uniform on 1..window_size reaches a word at distance 1, 2.. window_size."""
    return [(window_size + 1 - distance) / window_size for distance in range(1, window_size + 1)]
