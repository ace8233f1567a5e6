"""Blocks and pairs: what each format says about its examples."""

import numpy as np
import pytest

from pipeline.config import PipelineConfig
from pipeline.dataset.manifest import Field
from pipeline.examples import draws, formats
from pipeline.streams import random_stream

BLOCKS, PAIRS = formats.named("blocks"), formats.named("pairs")
WORDS = ["[PAD]", "[UNK]", "the", "wide", "road"]


def config(**settings):
    return PipelineConfig(input=("x",), output="y", **settings)


def rng():
    return random_stream(1, "test")


@pytest.mark.parametrize("name", ["blocks", "pairs"])
def test_a_format_is_chosen_by_the_flag(name):
    assert formats.format_of(config(example_format=name)) is formats.named(name)
    assert formats.named(name).name == name


def test_fields_of_blocks_follow_the_settings():
    assert BLOCKS.fields(config(block_targets=2, window_size=1, block_negatives=3)) == (
        Field("tokens", "int32", (4,)),
        Field("left", "uint8", (2,)),
        Field("right", "uint8", (2,)),
        Field("negatives", "int32", (3,)),
    )


def test_fields_of_pairs_follow_the_settings():
    assert PAIRS.fields(config(num_negatives=4)) == (Field("target", "int32", ()), Field("context", "int32", (5,)))


@pytest.mark.parametrize("example_format", [BLOCKS, PAIRS], ids=lambda each: each.name)
def test_the_fields_are_those_of_the_arrays(example_format):
    assert tuple(field.name for field in example_format.fields(config())) == example_format.examples._fields


def test_a_block_holds_many_targets_and_a_pair_one():
    assert BLOCKS.targets_per_example(config(block_targets=7)) == 7
    assert PAIRS.targets_per_example(config(block_targets=7)) == 1


def test_blocks_weigh_contexts_where_windows_shrink_and_pairs_never():
    assert BLOCKS.context_weights(config(window_size=4)) == (1.0, 0.75, 0.5, 0.25)
    assert BLOCKS.context_weights(config(window_size=4, shrink_windows=False)) == (1.0, 1.0, 1.0, 1.0)
    assert PAIRS.context_weights(config(window_size=4)) == ()


def test_only_pairs_draw_radii_and_only_where_windows_shrink():
    shrinking, fixed = config(window_size=3), config(window_size=3, shrink_windows=False)

    assert set(PAIRS.radii(100, shrinking, rng()).tolist()) == {1, 2, 3}
    for radii in (PAIRS.radii(100, fixed, rng()), BLOCKS.radii(100, shrinking, rng()), BLOCKS.radii(100, fixed, rng())):
        assert radii.tolist() == [3] * 100


@pytest.mark.parametrize("example_format", [BLOCKS, PAIRS], ids=lambda each: each.name)
def test_examples_have_the_shapes_and_dtypes_of_the_fields(example_format):
    """Three targets in a row, of which the middle one has two contexts: two blocks, or four pairs."""
    settings = config(block_targets=2, window_size=1, block_negatives=3, num_negatives=2)
    tokens, left, right = np.array([2, 3, 4], np.int32), np.array([0, 1, 1], np.uint8), np.array([1, 1, 0], np.uint8)
    noise = draws.Noise(draws.noise_cdf(np.array([0, 0, 5, 5, 5, 5]), 1.0))

    examples = example_format.assemble(tokens, left, right, noise, settings, rng())

    assert isinstance(examples, example_format.examples)
    number = {"blocks": 2, "pairs": 4}[example_format.name]
    for array, field in zip(examples, example_format.fields(settings)):
        assert (array.shape, array.dtype) == ((number, *field.shape), np.dtype(field.dtype)), field.name


def test_pairs_are_listed_by_target_with_their_context_first():
    tokens, left, right = np.array([2, 3, 4], np.int32), np.array([0, 1, 1], np.uint8), np.array([1, 1, 0], np.uint8)
    noise = draws.Noise(draws.noise_cdf(np.array([0, 0, 5, 5, 5, 5]), 1.0))

    pairs = PAIRS.assemble(tokens, left, right, noise, config(num_negatives=2), rng())

    assert pairs.target.tolist() == [2, 3, 3, 4]
    assert pairs.context[:, 0].tolist() == [3, 2, 4, 3]


def test_a_block_is_described_by_its_words_and_windows():
    block = {
        "tokens": np.array([0, 2, 3, 4, 0, 0], np.int32),
        "left": np.array([0, 1, 1, 0], np.uint8),
        "right": np.array([1, 1, 0, 0], np.uint8),
        "negatives": np.array([4, 2], np.int32),
    }

    assert BLOCKS.describe(block, WORDS).splitlines() == [
        "targets    : [2 3 4]",
        "negatives  : road the",
        "skip-grams : 4",
        "  the: _ wide",
        "  wide: the _ road",
        "  road: wide _",
    ]


def test_a_pair_is_described_as_in_the_tutorial():
    pair = {"target": np.int32(3), "context": np.array([2, 4, 1], np.int32)}

    assert PAIRS.describe(pair, WORDS).splitlines() == [
        "target_index    : 3",
        "target_word     : wide",
        "context_indices : [2 4 1]",
        "context_words   : ['the', 'road', '[UNK]']",
        "label           : [1 0 0]",
    ]
