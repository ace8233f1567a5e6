"""A record holds the examples that were put in, and its bytes are the same everywhere."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import PipelineConfig
from pipeline.dataset.manifest import Shard, parse_manifest
from pipeline.errors import UserError
from pipeline.examples import formats, records
from pipeline.examples.formats import Blocks, Pairs
from tests.contract.make import FOLDER
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


# Reading shards that may be damaged


def changed(name: str, change) -> bytes:
    """The record of GOLDEN_BLOCKS, with what `change` makes of the values of a field."""
    example = tf.train.Example.FromString(records.encode(GOLDEN_BLOCKS))
    change(example.features.feature[name])
    return example.SerializeToString(deterministic=True)


def without_last_byte(feature):
    feature.bytes_list.value[0] = feature.bytes_list.value[0][:-1]


def without_last_example(feature):
    feature.bytes_list.value[0] = feature.bytes_list.value[0][:2]


GOLDEN_FIELDS = BLOCKS.fields(config(block_targets=2, window_size=1, block_negatives=3))
NO_RECORDS = {
    "bytes of another kind": (b"\xff" * 9, "is not a tf.train.Example"),
    "nothing": (b"", "holds 0 byte strings for the field tokens: expected one"),
    "a field that is missing": (
        changed("left", lambda feature: feature.Clear()), "holds 0 byte strings for the field left: expected one"),
    "a field of numbers": (
        changed("left", lambda feature: feature.int64_list.value.append(1)), "holds 0 byte strings for the field left"),
    "two values": (
        changed("right", lambda feature: feature.bytes_list.value.append(b"")), "holds 2 byte strings for the field"),
    "half a number": (
        changed("tokens", without_last_byte), "holds 31 bytes of tokens: expected a multiple of an example's 16"),
    "fewer examples of one field": (
        changed("left", without_last_example),
        "holds 2 of tokens, 1 of left, 2 of right, 2 of negatives: expected as many of each field"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_RECORDS)
def test_what_is_wrong_with_a_record_is_told(kind):
    record, message = NO_RECORDS[kind]

    with pytest.raises(UserError, match=f"^{message}"):
        records.decode(record, BLOCKS, GOLDEN_FIELDS)


@pytest.fixture(params=["none", "gzip"])
def dataset(request, tmp_path):
    """A directory with one shard of 3 records, its description, and its manifest."""
    manifest = parse_manifest((FOLDER / "blocks" / "manifest.json").read_bytes(), "manifest.json")
    sizes = {"tokens": 4, "left": 2, "right": 2, "negatives": 3}
    fields = tuple(dataclasses.replace(field, shape=(sizes[field.name],)) for field in manifest.fields)
    manifest = dataclasses.replace(
        manifest, vocab_size=100_000, window_size=1, fields=fields, compression=request.param
    )
    blocks = GOLDEN_BLOCKS._replace(negatives=np.array([[5, 6, 7], [8, 9, 99_999]], np.int32))
    path = tmp_path / "skipgrams"
    options = tf.io.TFRecordOptions(compression_type="GZIP" if request.param == "gzip" else "")
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for _ in range(3):
            writer.write(records.encode(blocks))
    return tmp_path, Shard("skipgrams", path.stat().st_size, records=3, examples=6, skip_grams=18), manifest, blocks


def test_read_gives_what_was_written(dataset):
    directory, shard, manifest, blocks = dataset

    read = list(records.read(str(directory), shard, manifest))

    assert len(read) == 3
    for each in read:
        assert_equal(each, blocks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(bytes=9), r"skipgrams has \d+ bytes instead of 9"),
        (dict(records=4), "skipgrams has 3 records instead of 4"),
        (dict(examples=5), "skipgrams has 6 examples instead of 5"),
        (dict(name="skipgrams-2"), "skipgrams-2 is missing"),
        (dict(vocab_size=99_999), "skipgrams, record 1 holds 99999 in negatives: expected an id .* from 0 to 99,998"),
        (dict(window_size=0), "skipgrams, record 1 holds 1 in left: expected a number of words .* from 0 to 0"),
    ],
)
def test_a_shard_that_is_not_as_the_manifest_says_is_named(dataset, change, message):
    directory, shard, manifest, _ = dataset
    of_shard = {name: value for name, value in change.items() if name not in ("vocab_size", "window_size")}
    of_manifest = {name: value for name, value in change.items() if name in ("vocab_size", "window_size")}

    with pytest.raises(UserError, match=f"^{directory} is damaged: {message}; copy the dataset again, or"):
        list(
            records.read(
                str(directory), dataclasses.replace(shard, **of_shard), dataclasses.replace(manifest, **of_manifest)
            )
        )


def test_negative_ids_are_not_in_the_vocabulary(dataset):
    directory, shard, manifest, blocks = dataset
    blocks.tokens[1, 2] = -5
    path = directory / "skipgrams"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(records.encode(blocks))
    shard = dataclasses.replace(shard, bytes=path.stat().st_size)
    blocks.tokens[1, 2] = 4

    with pytest.raises(UserError, match="record 1 holds -5 in tokens: expected an id of the vocabulary"):
        list(records.read(str(directory), shard, dataclasses.replace(manifest, compression="none")))


def test_a_shard_is_read_no_further_than_asked(dataset):
    """The last record is damaged, but only who asks for it is told."""
    directory, shard, manifest, _ = dataset
    content = bytearray((directory / "skipgrams").read_bytes())
    content[-6] ^= 1
    (directory / "skipgrams").write_bytes(content)

    read = records.read(str(directory), shard, manifest)

    if manifest.compression == "none":  # all of it fits into the buffer that is decompressed at once
        next(read)
        next(read)
    with pytest.raises(UserError, match=r"skipgrams, record \d cannot be read \([^{[]*\)"):
        list(read)


def test_a_truncation_or_a_flipped_byte_is_told_or_harmless(dataset):
    """Also where the size is right, as that of a file is whose end has not reached the disk."""
    directory, shard, manifest, blocks = dataset
    path = directory / "skipgrams"
    good = path.read_bytes()
    cut = [good[:length] + bytes(len(good) - length) for length in range(0, len(good), 49)]
    flipped = [good[:place] + bytes([good[place] ^ 0x24]) + good[place + 1 :] for place in range(0, len(good), 31)]
    told = []
    for content in [*cut, *flipped]:
        path.write_bytes(content)
        try:
            for each in records.read(str(directory), shard, manifest):
                assert_equal(each, blocks)
        except UserError as error:
            told.append(str(error))
    assert len(told) > 0.7 * len([*cut, *flipped])
    assert all("skipgrams" in message and "\n" not in message for message in told)
