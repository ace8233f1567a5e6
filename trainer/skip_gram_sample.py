"""A sample of the skip-grams of some lines, with negative samples, drawn as the pipeline draws its own. Pure NumPy."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from trainer.dataset_layout import FIRST_WORD_ID
from trainer.next_item import Sessions

_DRAWS_PER_PAIR = 16  # draws that leave their line, or meet a word that is dropped, give no pair
_REDRAWS = 16  # of negative samples that are the context word


class Pairs(NamedTuple):
    """P skip-grams."""

    targets: np.ndarray  # [P] int32
    contexts: np.ndarray  # [P, 1 + K] int32, the true context word, then K negative samples


class Draws(NamedTuple):
    """How the pipeline has drawn the skip-grams of a dataset."""

    keep: np.ndarray  # [V], the probability that subsampling keeps a word
    noise: np.ndarray  # [V], the probability that a negative sample is a word
    distances: np.ndarray  # [w], how much a skip-gram counts whose words are at distance 1, 2.. w
    num_negatives: int  # K

    @classmethod
    def of(
        cls, counts: np.ndarray, config: Mapping[str, Any], context_weights: tuple[float, ...], window_size: int, k: int
    ) -> "Draws":
        """Those of a dataset.

        Words that are unknown are dropped. Subsampling of targets by rank, as in the tutorial, is left out.

        Args:
            counts: [V], how often each id occurs.
            config: the pipeline's flags: subsample, subsampling, negatives and ns_exponent.
            context_weights: as in the manifest; empty if all distances count the same.
            window_size: w.
            k: negative samples per skip-gram.
        """
        words = np.arange(len(counts)) >= FIRST_WORD_ID
        frequency = np.maximum(counts, 1) / max(1, counts[words].sum())
        threshold = 0.0 if config.get("subsampling") == "zipf" else float(config.get("subsample") or 0)
        ratio = threshold / frequency
        keep = np.where(words, np.minimum(1.0, np.sqrt(ratio) + ratio) if threshold else 1.0, 0.0)
        if config.get("negatives") == "log_uniform":
            noise = np.log1p(1 / (np.arange(len(counts)) + 1)) * words
        else:
            noise = np.where(counts > 0, counts, 0) ** float(config.get("ns_exponent", 0.75)) * (words & (counts > 0))
        return cls(keep, noise / noise.sum(), np.array(context_weights or [1.0] * window_size), k)


def sample_pairs(lines: Sessions, draws: Draws, num_pairs: int, rng: np.random.Generator) -> Pairs:
    """Draws skip-grams of some lines, with replacement.

    Args:
        lines: the lines; items are ids.
        draws: the probabilities.
        num_pairs: how many to draw; there are fewer if most lines are too short.
        rng: what to draw with.
    """
    is_kept = rng.random(len(lines.items)) < draws.keep[lines.items]
    ids, lengths = lines.those_where(is_kept)
    line = np.repeat(np.arange(len(lengths)), lengths)
    size = num_pairs * _DRAWS_PER_PAIR if len(ids) else 0
    weights = draws.distances / draws.distances.sum()
    place = rng.integers(max(1, len(ids)), size=size)
    distance = rng.choice(np.arange(1, len(weights) + 1), size, p=weights) * rng.choice([-1, 1], size)
    other = place + distance
    is_inside = (other >= 0) & (other < len(ids))
    place, other = place[is_inside], other[is_inside]
    is_pair = line[place] == line[other]
    targets, contexts = ids[place[is_pair]][:num_pairs], ids[other[is_pair]][:num_pairs]
    cdf = np.cumsum(draws.noise)
    cdf /= cdf[-1]
    negatives = np.searchsorted(cdf, rng.random([len(targets), draws.num_negatives]), side="right")
    for _ in range(_REDRAWS):
        is_context = negatives == contexts[:, np.newaxis]
        if not is_context.any():
            break
        negatives[is_context] = np.searchsorted(cdf, rng.random(np.count_nonzero(is_context)), side="right")
    return Pairs(
        targets.astype(np.int32), np.concatenate([contexts[:, np.newaxis], negatives], axis=1).astype(np.int32)
    )


def mean_loss(logits: np.ndarray, loss: str) -> float:
    """The mean loss of pairs, per skip-gram.

    Args:
        logits: [P, 1 + K], of the true context word and of the negative samples.
        loss: negative_sampling or softmax, see trainer.losses.pairs_loss.
    """
    logits = logits.astype(np.float64)
    if loss == "softmax":
        return float((np.logaddexp.reduce(logits, axis=1) - logits[:, 0]).mean())
    signs = np.where(np.arange(logits.shape[1]) == 0, -1.0, 1.0)
    return float(np.logaddexp(0, signs * logits).sum(axis=1).mean())
