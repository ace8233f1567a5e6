"""The map of words: the most frequent ones on a plane, in groups of words that are near each other there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer import limits
from trainer.report.tsne import place, principal_components
from trainer.report.words import Words

MOST_WORDS = 2000
_DIMENSIONS = 30  # of the vectors that are placed: the rest is mostly noise
_WORDS_PER_GROUP = 60
_MOST_GROUPS = 12
_ROUNDS = 30
_WORDS_IN_NAME = 3
_MOST_THREADS = 8


@dataclass(frozen=True)
class WordMap:
    """A map of n words."""

    rows: np.ndarray  # [n] int64, of the words in the model, the most frequent first
    places: np.ndarray  # [n, 2] float32
    groups: np.ndarray  # [n] int64, the group of each word
    names: Sequence[str]  # of the groups, the largest first


def make_map(words: Words, most: int = MOST_WORDS) -> WordMap:
    """Makes the map of the most frequent words. The same vectors give the same map, up to rounding.

    Args:
        words: the words. If they have no counts, the first are taken for the most frequent.
        most: how many words to take.
    """
    order = np.arange(len(words.words)) if words.counts is None else np.argsort(-words.counts, kind="stable")
    rows = order[:most]
    points = principal_components(words.unit_vectors(rows), _DIMENSIONS)
    places = place(points, threads=min(limits.num_cores(), _MOST_THREADS))
    groups = grouped(places, min(_MOST_GROUPS, max(1, len(rows) // _WORDS_PER_GROUP)))
    names = []
    for group in range(groups.max(initial=-1) + 1):
        members = np.flatnonzero(groups == group)
        distances = np.linalg.norm(points[members] - points[members].mean(axis=0), axis=1)
        central = members[np.argsort(distances, kind="stable")[:_WORDS_IN_NAME]]
        names.append(", ".join(words.words[rows[number]] for number in central))
    return WordMap(rows, places, groups, names)


def grouped(points: np.ndarray, num_groups: int) -> np.ndarray:
    """Divides points into groups by k-means. It starts at points that are far from each other.

    Args:
        points: [n, D] float32.
        num_groups: how many groups to make; there may be fewer in the end.

    Returns:
        [n] int64, the group of each point. The largest group is 0.
    """
    if not len(points):
        return np.zeros(0, np.int64)
    draws = np.random.default_rng(0)
    centres = [points.mean(axis=0)]
    nearest = ((points - centres[0]) ** 2).sum(axis=1, dtype=np.float64)
    centres[0] = points[nearest.argmin()]
    while len(centres) < num_groups:  # k-means++: a point that is far from all centres becomes one with more chance
        nearest = np.minimum(nearest, ((points - centres[-1]) ** 2).sum(axis=1, dtype=np.float64))
        if not nearest.sum() > 0:
            break
        centres.append(points[draws.choice(len(points), p=nearest / nearest.sum())])
    middle = np.array(centres)
    for _ in range(_ROUNDS):
        distances = (middle**2).sum(axis=1) - 2 * points @ middle.T
        group_of = distances.argmin(axis=1)
        sums = np.zeros_like(middle)
        np.add.at(sums, group_of, points)
        sizes = np.bincount(group_of, minlength=len(middle))[:, np.newaxis]
        middle = np.where(sizes, sums / np.maximum(sizes, 1), middle)
    sizes = np.bincount(group_of, minlength=len(middle))
    order = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    renumbered = np.zeros(len(middle), np.int64)
    renumbered[order] = np.arange(len(order))
    result: np.ndarray = renumbered[group_of]
    return result
