"""Random draws follow their formulas, and equal keys give equal draws."""

import math

import numpy as np
import pytest

from pipeline.examples import draws
from pipeline.examples.skipgrams import subsample


def rng(seed=0):
    return np.random.default_rng(seed)


def critical_chi_square(degrees: int) -> float:
    """The value that chi-square exceeds once in 10,000 times (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * degrees)
    return degrees * (1 - spread + 3.719 * math.sqrt(spread)) ** 3


def chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    return float(((observed - expected) ** 2 / expected).sum())


def test_keep_probabilities_are_those_of_word2vec_worked_out_by_hand():
    """It is sqrt(t/f) + t/f for shares of .9, .09, .0099 and .0001. Shares do not include the count of [UNK]."""
    counts = np.array([0, 123_456, 9000, 900, 99, 1])

    keep = draws.keep_probabilities(counts, 1e-3)

    assert keep == pytest.approx([0, 0, 0.0344444, 0.1165203, 0.4188309, 1], abs=1e-7)


def test_keep_probabilities_of_zero_threshold_keep_every_word():
    assert draws.keep_probabilities(np.array([0, 7, 100, 1]), 0).tolist() == [0, 0, 1, 1]


def test_keep_probabilities_never_exceed_one_and_fall_with_the_count():
    counts = np.concatenate(([0, 5], np.arange(100_000, 1, -1000)))

    words = draws.keep_probabilities(counts, 1e-3)[2:]

    assert words.max() == 1
    assert words[0] < 1
    assert (np.diff(words) >= 0).all()


@pytest.mark.parametrize("threshold", [1e-2, 1e-3, 1e-4])
def test_subsampling_keeps_the_share_that_the_formula_says(threshold):
    """Each word occurs 200,000 times, and its share may be off by four standard deviations."""
    counts = np.array([0, 10, 5000, 2000, 500, 100, 10, 1])
    num_draws = 200_000
    keep = draws.keep_probabilities(counts, threshold)
    ids = np.tile(np.arange(len(counts)), num_draws)

    kept, _ = subsample(ids, np.array([len(ids)]), keep, rng())

    observed = np.bincount(kept, minlength=len(counts)) / num_draws
    words = counts[2:] / counts[2:].sum()
    expected = np.minimum(1, np.sqrt(threshold / words) + threshold / words)
    assert observed[:2].tolist() == [0, 0]
    assert (abs(observed[2:] - expected) <= 4 * np.sqrt(expected * (1 - expected) / num_draws)).all()


@pytest.mark.parametrize("exponent", [0.75, 0, 1, -0.5])
def test_negatives_follow_the_noise_distribution(exponent):
    counts = np.array([0, 10_000, 5000, 2000, 1000, 300, 100, 30, 10, 10, 3, 1])

    drawn = draws.draw_negatives(draws.noise_cdf(counts, exponent), (1000, 500), rng(1))

    weights = [count**exponent for count in counts[2:].tolist()]
    expected = drawn.size * np.array(weights) / sum(weights)
    observed = np.bincount(drawn.ravel(), minlength=len(counts))
    assert observed[:2].tolist() == [0, 0]
    assert chi_square(observed[2:], expected) < critical_chi_square(len(weights) - 1)


def test_a_wrong_exponent_would_be_noticed():
    """The test above can tell 0.75 from 0.74."""
    counts = np.array([0, 10_000, 5000, 2000, 1000, 300, 100, 30, 10, 10, 3, 1])

    drawn = draws.draw_negatives(draws.noise_cdf(counts, 0.74), (1000, 500), rng(1))

    expected = drawn.size * counts[2:] ** 0.75 / (counts[2:] ** 0.75).sum()
    assert chi_square(np.bincount(drawn.ravel())[2:], expected) > critical_chi_square(len(counts) - 3)


def test_reserved_ids_are_never_negatives_even_at_the_ends_of_the_unit_interval():
    class Ends:
        def random(self, shape):
            return np.array([0.0, np.nextafter(1.0, 0.0)]).reshape(shape)

    cdf = draws.noise_cdf(np.array([0, 99, 5, 3, 1]), 0.75)

    assert draws.draw_negatives(cdf, (1, 2), Ends()).tolist() == [[2, 4]]
    assert cdf[:2].tolist() == [0, 0]
    assert cdf[-1] == 1


def test_negatives_are_int32_of_the_shape_asked_for():
    drawn = draws.draw_negatives(draws.noise_cdf(np.array([0, 0, 1, 1]), 0.75), (3, 4), rng())

    assert drawn.shape == (3, 4)
    assert drawn.dtype == np.int32


def test_radii_are_uniform_from_one_to_the_window_size():
    radii = draws.draw_radii(100_000, 5, rng(2))

    observed = np.bincount(radii, minlength=6)
    assert observed[0] == 0
    assert len(observed) == 6
    assert chi_square(observed[1:], np.full(5, 20_000)) < critical_chi_square(4)


def test_reach_probabilities_are_the_share_of_radii_that_reach():
    radii = draws.draw_radii(100_000, 5, rng(3))

    weights = draws.reach_probabilities(5)
    assert weights == (1.0, 0.8, 0.6, 0.4, 0.2)
    np.testing.assert_allclose([np.mean(radii >= distance) for distance in range(1, 6)], weights, atol=0.01)


KEY = (1, "radii", 0, "a.txt", 1 << 20)


def test_equal_keys_give_equal_draws():
    first, second = (draws.random_stream(*KEY).random(100) for _ in range(2))

    assert first.tolist() == second.tolist()


@pytest.mark.parametrize(
    "other",
    [
        (2, *KEY[1:]),
        (1, "subsample", *KEY[2:]),
        (*KEY[:2], 1, *KEY[3:]),
        (*KEY[:3], "b.txt", KEY[4]),
        (*KEY[:4], 0),
        ("1", *KEY[1:]),
        KEY[:-1],
        (*KEY[:2], 0, "a.txt1048576"),
    ],
    ids=["seed", "stage", "pass", "file", "offset", "type", "length", "joined"],
)
def test_a_key_that_differs_anywhere_gives_draws_of_its_own(other):
    ours = draws.random_stream(*KEY).random(1000)
    others = draws.random_stream(*other).random(1000)

    assert not set(ours.tolist()) & set(others.tolist())
    assert abs(np.corrcoef(ours, others)[0, 1]) < 4 / math.sqrt(1000)


def test_the_streams_are_still_the_ones_they_were():
    """Golden: after a change here, no dataset can be made again with its seed."""
    assert draws.random_stream(1, "subsample", 0, "sub/täxt.txt", 1 << 20).random(3).tolist() == [
        0.1375651148965199,
        0.4790836725948745,
        0.5118059148264397,
    ]
