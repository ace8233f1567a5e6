"""A record holds the examples that were put in, and its bytes are the same everywhere."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import PipelineConfig
from pipeline.examples import formats, records
from pipeline.examples.formats import Blocks, Pairs
from tests.pipeline.helpers import deterministic

BLOCKS, PAIRS = formats.named("blocks"), formats.named("pairs")


def config(**settings):
    return PipelineConfig(input=("x",), output="y", **settings)


def blocks_of(num_blocks: int, block_targets: int = 3, window_size: int = 2, num_negatives: int = 4, start: int = 0):
    """Blocks of random numbers, which may be anything that the dtypes allow."""
    numbers = np.random.default_rng(start)
    return Blocks(
        numbers.integers(0, 2**31, (num_blocks, block_targets + 2 * window_size), np.int32),
        numbers.integers(0, 256, (num_blocks, block_targets), np.uint8),
        numbers.integers(0, 256, (num_blocks, block_targets), np.uint8),
        numbers.integers(0, 2**31, (num_blocks, num_negatives), np.int32),
    )


def assert_equal(actual: Blocks, expected: Blocks):
    for name in Blocks._fields:
        one, other = getattr(actual, name), getattr(expected, name)
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, err_msg=name)


GOLDEN_BLOCKS = Blocks(
    np.array([[0, 2, 70_000, 3], [70_000, 3, 4, 0]], np.int32),
    np.array([[0, 1], [1, 1]], np.uint8),
    np.array([[1, 1], [1, 0]], np.uint8),
    np.array([[5, 6, 7], [8, 9, 2**31 - 1]], np.int32),
)


def test_a_record_is_the_bytes_it_always_was():
    """Golden: features by name, each one bytes value, little-endian; 70,000 is 0x11170."""

    def feature(name, data):
        value = bytes([0x0A, len(data)]) + data  # BytesList.value
        value = bytes([0x0A, len(value)]) + value  # Feature.bytes_list
        entry = bytes([0x0A, len(name)]) + name + bytes([0x12, len(value)]) + value
        return bytes([0x0A, len(entry)]) + entry

    features = (
        feature(b"left", bytes.fromhex("00010101"))
        + feature(b"negatives", bytes.fromhex("0500000006000000070000000800000009000000ffffff7f"))
        + feature(b"right", bytes.fromhex("01010100"))
        + feature(b"tokens", bytes.fromhex("0000000002000000701101000300000070110100030000000400000000000000"))
    )

    length = bytes([0x80 | len(features) & 0x7F, len(features) >> 7])  # a varint of two bytes
    assert records.encode(GOLDEN_BLOCKS) == b"\x0a" + length + features


def test_tensorflow_reads_a_record_with_the_fields_alone():
    """parse_single_example and decode_raw, as a tf.data reader does."""
    fields = BLOCKS.fields(config(block_targets=2, window_size=1, block_negatives=3))

    parsed = tf.io.parse_single_example(
        records.encode(GOLDEN_BLOCKS), {field.name: tf.io.FixedLenFeature([], tf.string) for field in fields}
    )

    for field in fields:
        column = tf.reshape(tf.io.decode_raw(parsed[field.name], field.dtype), [-1, *field.shape])
        assert column.numpy().tolist() == getattr(GOLDEN_BLOCKS, field.name).tolist()


@deterministic
@given(num_blocks=st.integers(0, 5), targets=st.integers(1, 6), window=st.integers(1, 4), negatives=st.integers(1, 6))
def test_decode_undoes_encode(num_blocks, targets, window, negatives):
    blocks = blocks_of(num_blocks, targets, window, negatives)
    fields = BLOCKS.fields(config(block_targets=targets, window_size=window, block_negatives=negatives))

    decoded = records.decode(records.encode(blocks), BLOCKS, fields)

    assert isinstance(decoded, Blocks)
    assert_equal(decoded, blocks)


def test_pairs_are_decoded_as_pairs():
    pairs = Pairs(np.array([4, 5], np.int32), np.array([[5, 6, 7], [4, 8, 9]], np.int32))

    decoded = records.decode(records.encode(pairs), PAIRS, PAIRS.fields(config(num_negatives=2)))

    assert isinstance(decoded, Pairs)
    assert decoded.target.tolist() == [4, 5]
    assert decoded.context.tolist() == [[5, 6, 7], [4, 8, 9]]


def test_encode_takes_views_that_are_not_contiguous():
    """Blocks are views of one long array, so their rows overlap in memory."""
    run = np.arange(20, dtype=np.int32)
    views = np.lib.stride_tricks.sliding_window_view(run, 7)[::3]
    blocks = Blocks(views, *blocks_of(len(views))[1:])

    copied = Blocks(views.copy(), *blocks[1:])

    assert records.encode(blocks) == records.encode(copied)


@deterministic
@given(
    sizes=st.lists(st.integers(0, 9), max_size=8),
    block_targets=st.integers(1, 12),
    targets_per_record=st.integers(1, 40),
)
def test_pack_regroups_without_loss_and_fills_every_record_but_the_last(sizes, block_targets, targets_per_record):
    arrived = [blocks_of(size, block_targets, start=i) for i, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "TARGETS_PER_RECORD", targets_per_record)
        packed = list(records.pack(iter(arrived), block_targets))

    full = max(1, targets_per_record // block_targets)
    lengths = [len(group.tokens) for group in packed]
    assert lengths[:-1] == [full] * (len(lengths) - 1)
    assert len(lengths) == math.ceil(sum(sizes) / full)
    assert 0 not in lengths
    if packed:
        assert_equal(Blocks(*map(np.concatenate, zip(*packed))), Blocks(*map(np.concatenate, zip(*arrived))))


@pytest.mark.parametrize(("block_targets", "per_record"), [(64, 16), (1, 1024), (1024, 1), (4096, 1), (100, 10)])
def test_a_record_holds_1024_targets_or_one_block(block_targets, per_record):
    arrived = [blocks_of(per_record, block_targets), blocks_of(1, block_targets)]

    assert [len(group.left) for group in records.pack(iter(arrived), block_targets)] == [per_record, 1]
