"""Random draws follow their formulas, and equal keys give equal draws."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.examples import draws
from pipeline.examples.skipgrams import subsample
from pipeline.streams import random_stream


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

    drawn = draws.Noise(draws.noise_cdf(counts, exponent)).draw((1000, 500), rng(1))

    weights = [count**exponent for count in counts[2:].tolist()]
    expected = drawn.size * np.array(weights) / sum(weights)
    observed = np.bincount(drawn.ravel(), minlength=len(counts))
    assert observed[:2].tolist() == [0, 0]
    assert chi_square(observed[2:], expected) < critical_chi_square(len(weights) - 1)


def test_a_wrong_exponent_would_be_noticed():
    """The test above can tell 0.75 from 0.74."""
    counts = np.array([0, 10_000, 5000, 2000, 1000, 300, 100, 30, 10, 10, 3, 1])

    drawn = draws.Noise(draws.noise_cdf(counts, 0.74)).draw((1000, 500), rng(1))

    expected = drawn.size * counts[2:] ** 0.75 / (counts[2:] ** 0.75).sum()
    assert chi_square(np.bincount(drawn.ravel())[2:], expected) > critical_chi_square(len(counts) - 3)


def test_reserved_ids_are_never_negatives_even_at_the_ends_of_the_unit_interval():
    class Ends:
        def random(self, shape):
            return np.array([0.0, np.nextafter(1.0, 0.0)]).reshape(shape)

    cdf = draws.noise_cdf(np.array([0, 99, 5, 3, 1]), 0.75)

    assert draws.Noise(cdf).draw((1, 2), Ends()).tolist() == [[2, 4]]
    assert cdf[:2].tolist() == [0, 0]
    assert cdf[-1] == 1


@pytest.mark.parametrize("most_parts", [4, 1 << 20], ids=["small table", "large table"])
def test_the_table_gives_the_words_that_a_search_gives(most_parts, monkeypatch):
    """Also at the very numbers where one word ends and the next begins, and next to them."""
    monkeypatch.setattr(draws, "_MOST_PARTS", most_parts)
    cdf = draws.noise_cdf(np.array([0, 0, 10_000, 7, 0, 5, 0, 1, *[2] * 50]), 0.75)
    ends = np.concatenate((cdf, np.arange(4096) / 4096))
    numbers = np.concatenate((ends, np.nextafter(ends, 0), np.nextafter(ends, 1), rng().random(10_000)))
    numbers = numbers[numbers < 1]

    class Given:
        def random(self, shape):
            return numbers.reshape(shape)

    drawn = draws.Noise(cdf).draw((len(numbers), 1), Given())

    assert drawn[:, 0].tolist() == np.searchsorted(cdf, numbers, side="right").tolist()


def test_negatives_are_int32_of_the_shape_asked_for():
    drawn = draws.Noise(draws.noise_cdf(np.array([0, 0, 1, 1]), 0.75)).draw((3, 4), rng())

    assert drawn.shape == (3, 4)
    assert drawn.dtype == np.int32


def unique_negatives(weights, contexts, num_negatives, seed=0):
    """Draws unique negatives of the ids 2, 3.., which have the weights."""
    cdf = np.cumsum(np.array([0, 0, *weights], np.float64))
    return draws.draw_unique_negatives(
        draws.Noise(cdf / cdf[-1]), np.asarray(contexts, np.int32), num_negatives, rng(seed)
    )


def probabilities_in_order(weights, context, num_negatives):
    """The probability of each sequence of draws, by the definition: each from the words that are left."""
    words = {word: weight for word, weight in enumerate(weights, 2) if weight and word != context}
    result = {}
    for sequence in itertools.permutations(words, num_negatives):
        left, probability = sum(words.values()), 1.0
        for word in sequence:
            probability *= words[word] / left
            left -= words[word]
        result[sequence] = probability
    return result


METHODS = {"again": math.inf, "keys": 0}  # and the cost of a key with which it is chosen


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_negatives", [1, 2, 4])
def test_unique_negatives_are_draws_one_after_the_other(method, num_negatives, monkeypatch):
    """Four negatives are all words but the context; only their order is random."""
    monkeypatch.setattr(draws, "_KEY_COST", METHODS[method])
    monkeypatch.setattr(draws, "_KEYS_HELD", 1000)  # several chunks
    weights = [8, 4, 0, 2, 1, 1]

    drawn = unique_negatives(weights, [3] * 100_000, num_negatives)

    expected = probabilities_in_order(weights, 3, num_negatives)
    observed = Counter(map(tuple, drawn.tolist()))
    assert observed.keys() <= expected.keys()
    numbers = np.array([[observed[sequence], 100_000 * probability] for sequence, probability in expected.items()])
    assert chi_square(*numbers.T) < critical_chi_square(max(1, len(numbers) - 1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_words", [5, 40])
def test_unique_negatives_hold_no_word_twice_nor_the_context(method, num_words, monkeypatch):
    monkeypatch.setattr(draws, "_KEY_COST", METHODS[method])
    weights = [1 / (rank + 1) * (rank % 3 != 1) for rank in range(num_words)]
    words = [word for word, weight in enumerate(weights, 2) if weight]
    contexts = np.array([*words, 1, 3] * 30)  # 1 and 3 are never drawn, but may be contexts

    for num_negatives in (1, len(words) - 1):
        drawn = unique_negatives(weights, contexts, num_negatives)

        assert (drawn.shape, drawn.dtype) == ((len(contexts), num_negatives), np.int32)
        assert set(drawn.ravel().tolist()) == set(words)
        for context, row in zip(contexts.tolist(), drawn.tolist(), strict=True):
            assert len({context, *row}) == num_negatives + 1


def test_too_many_unique_negatives_are_refused():
    with pytest.raises(UserError, match="--num_negatives 3: the vocabulary has 3 words.*: expected at most 2"):
        unique_negatives([1, 0, 1, 1], [2], 3)


@pytest.mark.parametrize(
    ("weights", "num_negatives"),
    [
        (1 / np.arange(1, 1101) ** 0.75, 1000),
        (1 / np.arange(1, 1002) ** 0.75, 1000),
        ([1.0, 1e-12, 1e-12, 1e-12], 2),
        ([*[1.0] * 20, *[1e-9] * 1000], 25),
    ],
    ids=["most words", "all words but one", "one word has nearly all weight", "few words have nearly all weight"],
)
def test_the_time_is_bounded_where_new_words_are_rare(weights, num_negatives, monkeypatch):
    """Drawing again would take 5 M comparisons or more for each skip-gram, or would not end."""
    monkeypatch.setattr(draws.Noise, "draw", None)  # what draws with replacement

    drawn = unique_negatives(weights, [2] * 10, num_negatives)

    assert all(len({2, *row}) == num_negatives + 1 for row in drawn.tolist())


def test_ordinary_settings_keep_their_way_of_drawing(monkeypatch):
    """Which way it is decides about the bytes of datasets: those of the tutorial, and 20 negatives of 1,000 words."""
    monkeypatch.setattr(draws, "_draw_smallest_keys", None)
    zipf = draws.noise_cdf(np.array([0, 0, *(10**6 // np.arange(1, 1001))]), 0.75)

    for cdf, num_negatives in ((draws.log_uniform_cdf(4096), 4), (draws.log_uniform_cdf(50), 4), (zipf, 20)):
        noise = draws.Noise(cdf)
        assert draws.draw_unique_negatives(noise, np.full(10, 2), num_negatives, rng()).shape == (10, num_negatives)


def test_unique_negatives_are_still_the_ones_they_were():
    """Golden, for each way of drawing."""
    large, small = (draws.Noise(draws.log_uniform_cdf(vocab_size)) for vocab_size in (4096, 10))
    few = draws.draw_unique_negatives(large, np.array([2, 7]), 4, random_stream(*KEY))
    many = draws.draw_unique_negatives(small, np.array([2, 7]), 7, random_stream(*KEY))

    assert few.tolist() == [[620, 136, 219, 13], [35, 352, 286, 396]]
    assert many.tolist() == [[8, 3, 4, 9, 5, 7, 6], [2, 5, 3, 4, 8, 9, 6]]


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
    first, second = (random_stream(*KEY).random(100) for _ in range(2))

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
    ours = random_stream(*KEY).random(1000)
    others = random_stream(*other).random(1000)

    assert not set(ours.tolist()) & set(others.tolist())
    assert abs(np.corrcoef(ours, others)[0, 1]) < 4 / math.sqrt(1000)


def test_the_streams_are_still_the_ones_they_were():
    """Golden: after a change here, no dataset can be made again with its seed."""
    assert random_stream(1, "subsample", 0, "sub/täxt.txt", 1 << 20).random(3).tolist() == [
        0.1375651148965199,
        0.4790836725948745,
        0.5118059148264397,
    ]
