"""What is drawn at random: which words stay, how wide a window is, which words are negatives. Pure NumPy."""

import hashlib
import json

import numpy as np

from pipeline.config import FIRST_WORD_ID


def random_stream(*key: str | int) -> np.random.Generator:
    """A generator whose draws are a function of `key` alone, whichever worker asks and whenever.

    Philox (Salmon et al. 2011) is counter-based, so streams with different keys are independent.

    Args:
        *key: the seed and what names the stream: the pass, the stage, the file, the text block's byte offset.
    """
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype="<u8")))


def keep_probabilities(counts: np.ndarray, threshold: float) -> np.ndarray:
    """The probability that subsampling keeps an occurrence of each id.

    min(1, sqrt(t/f) + t/f), where f is a word's share of the in-vocabulary words (word2vec.c, gensim).

    Args:
        counts: [V] int64, occurrences by id; those of the reserved ids are ignored.
        threshold: t; 0 keeps every word.

    Returns:
        [V] float64; 0 for the reserved ids, which are never kept.
    """
    keep = np.ones(len(counts))
    words = counts[FIRST_WORD_ID:]
    if threshold > 0:
        ratio = threshold * words.sum() / words
        keep[FIRST_WORD_ID:] = np.minimum(1.0, np.sqrt(ratio) + ratio)
    keep[:FIRST_WORD_ID] = 0
    return keep


def noise_cdf(counts: np.ndarray, exponent: float) -> np.ndarray:
    """The cumulative noise distribution, count ** exponent (Mikolov et al. 2013), as [V] float64 that ends in 1."""
    weights = np.zeros(len(counts))
    weights[FIRST_WORD_ID:] = counts[FIRST_WORD_ID:].astype(np.float64) ** exponent
    cdf = np.cumsum(weights)
    return cdf / cdf[-1]


def draw_negatives(cdf: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Words drawn from the noise distribution with replacement, int32 of `shape`."""
    return np.searchsorted(cdf, rng.random(shape), side="right").astype(np.int32)


def draw_radii(num_targets: int, window_size: int, shrink: bool, rng: np.random.Generator) -> np.ndarray:
    """Window radii, [num_targets] int64: uniform on 1..window_size (word2vec.c), or all window_size if not `shrink`."""
    if not shrink:
        return np.full(num_targets, window_size)
    return rng.integers(1, window_size + 1, num_targets)
