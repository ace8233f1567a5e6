"""Blocks hold every skip-gram of the definition once, in order. Naive loops say which skip-grams those are."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import PipelineConfig
from pipeline.examples import formats, skipgrams
from tests.pipeline import reference
from tests.pipeline.helpers import deterministic, flatten, read_off

SENTENCES = st.lists(st.lists(st.integers(2, 9), max_size=14), max_size=7)
SENTENCES_WITH_UNKNOWN = st.lists(st.lists(st.integers(1, 9), max_size=14), max_size=7)
COUNTS = [0, 11, 40, 30, 20, 20, 9, 5, 2, 1]


def config(**settings):
    return PipelineConfig(input=("x",), output="y", **settings)


def flat(sentences):
    """Sentences as the package takes them: all ids, and the length of each sentence."""
    return np.array(flatten(sentences), np.int64), np.array([len(sentence) for sentence in sentences], np.int64)


def rows(blocks):
    """A dictionary of lists for each block."""
    return [dict(zip(formats.Blocks._fields, map(np.ndarray.tolist, row), strict=True)) for row in zip(*blocks)]


def naive_skip_grams(sentences, radii, longest=1000):
    """All pairs of words within the target's radius and in the same sentence, target by target."""
    radii = iter(radii)
    pairs = []
    for sentence in sentences:
        for start in range(0, len(sentence), longest):
            part = sentence[start : start + longest]
            for i, target in enumerate(part):
                radius = next(radii)
                for j, context in enumerate(part):
                    if i != j and abs(i - j) <= radius:
                        pairs.append((target, context))
    return pairs


def naive_extents(lengths, radii, longest):
    radii = iter(radii)
    left, right = [], []
    for length in lengths:
        for i in range(length):
            radius = next(radii)
            first = i - i % longest
            end = min(first + longest, length)
            left.append(sum(1 for j in range(first, i) if i - j <= radius))
            right.append(sum(1 for j in range(i + 1, end) if j - i <= radius))
    return left, right


def draw_radii(data, num_targets, window_size):
    return data.draw(st.lists(st.integers(1, window_size), min_size=num_targets, max_size=num_targets), "radii")


@deterministic
@given(
    sentences=SENTENCES_WITH_UNKNOWN,
    keep=st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), min_size=8, max_size=8),
    seed=st.integers(0, 99),
)
def test_subsample_drops_the_words_whose_draw_is_not_below_their_probability(sentences, keep, seed):
    keep = [0.0, 0.0, *keep]
    ids, lengths = flat(sentences)

    kept, kept_lengths = skipgrams.subsample(ids, lengths, np.array(keep), np.random.default_rng(seed))

    draws = iter(np.random.default_rng(seed).random(len(ids)).tolist())
    expected = [[word for word in sentence if next(draws) < keep[word]] for sentence in sentences]
    assert kept.tolist() == flatten(expected)
    assert kept_lengths.tolist() == [len(sentence) for sentence in expected]
    assert kept.dtype == np.int32


@deterministic
@given(data=st.data(), lengths=st.lists(st.integers(0, 14), max_size=7), longest=st.integers(1, 9))
def test_contexts_end_where_their_sentence_does_and_where_a_long_one_is_split(data, lengths, longest):
    radii = draw_radii(data, sum(lengths), 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skipgrams, "MAX_SENTENCE_TOKENS", longest)
        left, right = skipgrams.context_extents(np.array(lengths, np.int64), np.array(radii, np.int64))

    assert (left.tolist(), right.tolist()) == naive_extents(lengths, radii, longest)
    assert left.dtype == right.dtype == np.uint8


def test_a_sentence_of_more_than_1000_tokens_goes_on_as_a_new_one():
    """A sentence of 2,500 tokens behind one of 3 becomes parts of 1,000, 1,000 and 500."""
    left, right = skipgrams.context_extents(np.array([3, 2500]), np.full(2503, 5))

    at_split = slice(3 + 997, 3 + 1003)
    assert left[at_split].tolist() == [5, 5, 5, 0, 1, 2]
    assert right[at_split].tolist() == [2, 1, 0, 5, 5, 5]
    assert np.flatnonzero(left == 0).tolist() == [0, 3, 1003, 2003]
    assert np.flatnonzero(right == 0).tolist() == [2, 1002, 2002, 2502]


@pytest.mark.parametrize("window_size", [1, 254, 255])
def test_the_widest_windows_fit_in_a_byte(window_size):
    left, right = skipgrams.context_extents(np.array([600]), np.full(600, window_size))

    assert left.max() == right.max() == window_size
    assert left.sum(dtype=int) == sum(min(i, window_size) for i in range(600))


@deterministic
@given(data=st.data(), sentences=SENTENCES, window_size=st.integers(1, 5), block_targets=st.integers(1, 9))
def test_every_skip_gram_is_in_the_blocks_in_order(data, sentences, window_size, block_targets):
    """No skip-gram is lost or doubled at a block's edge, and none reaches into another sentence."""
    tokens, lengths = flat(sentences)
    radii = draw_radii(data, len(tokens), window_size)
    left, right = naive_extents(lengths, radii, 1000)

    cut = formats.cut_blocks(
        tokens.astype(np.int32), np.array(left, np.uint8), np.array(right, np.uint8), block_targets, window_size
    )

    blocks = [dict(zip(("tokens", "left", "right"), map(np.ndarray.tolist, row), strict=True)) for row in zip(*cut)]
    assert flatten(read_off(block, window_size) for block in blocks) == naive_skip_grams(sentences, radii)
    assert [array.dtype for array in cut] == [np.int32, np.uint8, np.uint8]


@deterministic
@given(num_targets=st.integers(0, 30), window_size=st.integers(1, 5), block_targets=st.integers(1, 9))
def test_blocks_hold_their_targets_with_a_halo_and_zeros_where_there_is_nothing(
    num_targets, window_size, block_targets
):
    run = np.arange(100, 100 + num_targets, dtype=np.int32)
    extents = np.arange(1, 1 + num_targets, dtype=np.uint8)

    tokens, left, right = formats.cut_blocks(run, extents, extents + 50, block_targets, window_size)

    num_blocks = -(-num_targets // block_targets)
    assert tokens.shape == (num_blocks, block_targets + 2 * window_size)
    assert left.shape == right.shape == (num_blocks, block_targets)
    for block, column in itertools.product(range(num_blocks), range(block_targets + 2 * window_size)):
        place = block * block_targets + column - window_size
        assert tokens[block, column] == (100 + place if 0 <= place < num_targets else 0)
    for block, column in itertools.product(range(num_blocks), range(block_targets)):
        place = block * block_targets + column
        assert left[block, column] == (1 + place if place < num_targets else 0)
        assert right[block, column] == (51 + place if place < num_targets else 0)


@deterministic
@given(
    sentences=SENTENCES_WITH_UNKNOWN,
    settings=st.fixed_dictionaries(
        {
            "window_size": st.integers(1, 5),
            "shrink_windows": st.booleans(),
            "subsample": st.sampled_from([0.0, 0.01, 0.1, 1.0]),
            "block_targets": st.integers(1, 9),
            "block_negatives": st.integers(1, 5),
            "ns_exponent": st.sampled_from([0.75, 0.0, 1.0]),
            "seed": st.integers(0, 5),
        }
    ),
    key=st.tuples(st.integers(0, 2), st.sampled_from(["a.txt", "ü/b.txt"]), st.integers(0, 2**40)),
    longest=st.sampled_from([2, 5, 1000]),
)
def test_blocks_and_counters_are_those_of_the_naive_pipeline(sentences, settings, key, longest):
    settings = config(**settings)
    counts = np.array(COUNTS, np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skipgrams, "MAX_SENTENCE_TOKENS", longest)
        blocks, found = skipgrams.skip_gram_examples(
            *flat(sentences), skipgrams.Distributions.of(counts, settings), settings, key
        )

    expected, expected_found = reference.block_examples(
        sentences, COUNTS, settings, key, reference.Sizes(max_sentence_tokens=longest)
    )
    assert rows(blocks) == expected
    assert +reference.Counter(found) == +expected_found
    assert found["skip_grams"] == sum(len(read_off(block, settings.window_size)) for block in expected)
    assert [array.dtype for array in blocks] == [np.int32, np.uint8, np.uint8, np.int32]


@deterministic
@given(sentences=SENTENCES, window_size=st.integers(1, 5), block_targets=st.integers(1, 9))
def test_without_draws_all_pairs_within_the_window_are_there(sentences, window_size, block_targets):
    settings = config(window_size=window_size, shrink_windows=False, subsample=0, block_targets=block_targets)

    blocks, found = skipgrams.skip_gram_examples(
        *flat(sentences), skipgrams.Distributions.of(np.array(COUNTS), settings), settings, (0, "a", 0)
    )

    expected = naive_skip_grams(sentences, itertools.repeat(window_size))
    assert flatten(read_off(block, window_size) for block in rows(blocks)) == expected
    assert found["skip_grams"] == len(expected)


def make_blocks(sentences, **settings):
    settings = config(**{"subsample": 0, "shrink_windows": False, **settings})
    return skipgrams.skip_gram_examples(
        *flat(sentences), skipgrams.Distributions.of(np.array(COUNTS), settings), settings, (0, "a", 0)
    )


def test_the_tutorials_sentence_has_26_skip_grams():
    """The sentence is `the wide road shimmered in the hot sun`, and the window size is 2."""
    blocks, found = make_blocks([[2, 3, 4, 5, 6, 2, 7, 8]], window_size=2, block_targets=8)

    assert blocks.left.tolist() == [[0, 1, 2, 2, 2, 2, 2, 2]]
    assert blocks.right.tolist() == [[2, 2, 2, 2, 2, 2, 1, 0]]
    assert blocks.tokens.tolist() == [[0, 0, 2, 3, 4, 5, 6, 2, 7, 8, 0, 0]]
    assert found["skip_grams"] == 26
    assert found["tokens_kept"] == 8


def test_skip_grams_of_a_long_text_are_counted():
    """2,000 words become two sentences of 1,000; with window 5, each lacks 1 + 2 + 3 + 4 + 5 at either end."""
    blocks, found = make_blocks([[2] * 2000], window_size=5)

    assert found["skip_grams"] == 2 * 2 * (5 * 1000 - 15)
    assert found["skip_grams"] == sum(len(read_off(block, 5)) for block in rows(blocks))


def test_one_word_sentences_are_in_no_block():
    blocks, found = make_blocks([[2], [3], [], [4]])

    assert len(blocks.tokens) == 0
    assert found["tokens_dropped_alone"] == found["tokens_kept"] == 3
    assert found["skip_grams"] == 0


def test_a_word_that_is_alone_takes_no_place_between_its_neighbours():
    blocks, found = make_blocks([[2, 3], [4], [1, 5, 1], [6, 7]], window_size=1, block_targets=4)

    assert blocks.tokens.tolist() == [[0, 2, 3, 6, 7, 0]]
    assert blocks.left.tolist() == [[0, 1, 0, 1]]
    assert blocks.right.tolist() == [[1, 0, 1, 0]]
    assert found["tokens_dropped_alone"] == 2
    assert found["words_oov"] == 2


def test_unknown_words_are_dropped_before_windows_are_drawn():
    """Windows reach across them, and no skip-gram holds [PAD] or [UNK]."""
    blocks, found = make_blocks([[2, 1, 1, 1, 3, 0, 4]], window_size=1)

    assert read_off(rows(blocks)[0], 1) == [(2, 3), (3, 2), (3, 4), (4, 3)]
    assert found["words_oov"] == 4


@pytest.mark.parametrize("sentences", [[], [[]], [[], [], []], [[1, 1], [1]]], ids=str)
def test_text_without_known_words_gives_no_block(sentences):
    blocks, found = make_blocks(sentences, window_size=3, block_targets=5, block_negatives=7)

    assert [array.shape for array in blocks] == [(0, 11), (0, 5), (0, 5), (0, 7)]
    assert [array.dtype for array in blocks] == [np.int32, np.uint8, np.uint8, np.int32]
    assert found["skip_grams"] == found["tokens_kept"] == 0


def test_draws_depend_on_seed_pass_file_and_offset():
    sentences = [[2, 3, 4, 5, 6, 7, 8, 9] * 20]

    def made(seed, *key):
        settings = config(subsample=0.1, seed=seed)
        distributions = skipgrams.Distributions.of(np.array(COUNTS), settings)
        return rows(skipgrams.skip_gram_examples(*flat(sentences), distributions, settings, key)[0])

    first = made(1, 0, "a", 0)
    assert made(1, 0, "a", 0) == first
    for other in (made(2, 0, "a", 0), made(1, 1, "a", 0), made(1, 0, "b", 0), made(1, 0, "a", 1)):
        assert other != first
