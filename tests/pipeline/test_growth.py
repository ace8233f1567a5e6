"""The size of a vocabulary is estimated from samples of texts whose words are all known."""

import math
from collections import Counter

import numpy as np
import pytest

from pipeline.plan.growth import exponent, frequent_probabilities, unseen_words, vocabulary_size


def power_law_text(a, num_words, times, seed=1):
    """Counts of words in a sample and in the whole text. The expected counts follow a power law."""
    rng = np.random.default_rng(seed)
    expected = 1e-3 * rng.random(num_words) ** (-1 / a)
    expected = expected[expected < 1e5]
    seen = rng.poisson(expected)
    return seen, seen + rng.poisson(expected * (times - 1))


def clustered_text(num_pieces, seed):
    """Word counts of pieces of text. A word that occurs in a piece is likely to occur there again."""
    rng = np.random.default_rng(seed)
    expected = 1e-3 * rng.random(400_000) ** -2.0
    clusters = rng.poisson(expected[expected < 1e4])
    pieces = [Counter() for _ in range(num_pieces)]
    for word in np.flatnonzero(clusters):
        number = clusters[word]
        for piece, size in zip(rng.integers(0, num_pieces, number).tolist(), rng.geometric(1 / 3, number).tolist()):
            pieces[piece][int(word)] += size
    return pieces


@pytest.mark.parametrize("a", [0.3, 0.5])
def test_the_exponent_is_found(a):
    seen, _ = power_law_text(a, 400_000, 2)

    assert exponent(seen[seen > 0]) == pytest.approx(a, abs=0.04)


@pytest.mark.parametrize(("times", "min_count"), [(1.5, 1), (1.5, 5), (20, 1), (20, 2), (20, 5), (20, 30), (300, 30)])
def test_seen_and_unseen_words_are_those_of_a_power_law(times, min_count):
    seen, counts = power_law_text(0.5, 1_000_000, times)
    present = seen[seen > 0]

    expected = frequent_probabilities(present, times, min_count).sum()
    assert expected == pytest.approx(np.count_nonzero(counts[seen > 0] >= min_count), rel=0.05)
    unseen = np.count_nonzero(counts[seen == 0] >= min_count)
    assert unseen_words(present, times, min_count) == pytest.approx(unseen, rel=0.1, abs=30)


def test_probabilities_are_those_of_an_integral():
    """The expected count m of a word seen twice has the density m ** (2 - 1 - a) exp(-m); the rest is Poisson."""
    seen = np.array([1] * 40 + [2] * 10 + [9])
    a = exponent(seen)
    assert a == 0.5

    mean = np.linspace(1e-6, 60, 600_001)
    density = mean ** (2 - 1 - a) * np.exp(-mean)
    at_most_two = sum(np.exp(-3 * mean) * (3 * mean) ** r / math.factorial(r) for r in range(3))
    expected = 1 - (density * at_most_two).sum() / density.sum()
    assert frequent_probabilities(seen, 4.0, 5)[45] == pytest.approx(expected, rel=1e-4)
    assert frequent_probabilities(seen, 4.0, 5)[-1] == 1


def test_the_whole_text_as_sample_leaves_nothing_to_guess():
    pieces = [Counter(a=3, b=1), Counter(a=2, c=4, b=1)]

    assert [vocabulary_size(pieces, 1.0, min_count) for min_count in (1, 2, 3, 5, 6)] == [3, 3, 2, 1, 0]


@pytest.mark.parametrize("times", [1.0, 3.0, 1e6])
def test_words_that_are_all_frequent_are_taken_for_all_there_are(times):
    pieces = [Counter({word: 50 for word in range(100)})] * 30

    assert vocabulary_size(pieces, times, 5) == pytest.approx(100)


def test_a_high_min_count_is_a_matter_of_proportion():
    pieces = [Counter(a=600, b=500, c=400)]

    assert vocabulary_size(pieces, 1000.0, 450_000) == 2


@pytest.mark.parametrize("min_count", [1, 2, 5])
def test_that_words_come_in_clusters_is_corrected(min_count):
    pieces = clustered_text(400, seed=1)
    counts = sum(pieces, Counter())
    sample = sum(pieces[::10], Counter())
    times = counts.total() / sample.total()

    truth = sum(count >= min_count for count in counts.values())
    seen = np.array(list(sample.values()))
    law = frequent_probabilities(seen, times, min_count).sum() + unseen_words(seen, times, min_count)
    assert law < 0.65 * truth
    assert vocabulary_size(pieces[::10], times, min_count) == pytest.approx(truth, rel=0.05)
