"""Parts of tensors in checkpoints: however a table is divided when it is written, any part of it can be read."""

import json

import numpy as np
import pytest
import tensorflow as tf

from trainer import bundle
from trainer.bundle import Part, merge, read, write


def cuts(rng, length):
    """Ranges that cover a length, at random places."""
    inner = sorted({int(place) for place in rng.integers(1, length, rng.integers(0, 4))}) if length > 1 else []
    return list(zip([0, *inner], [*inner, length]))


def parts_of(rng, name, table):
    """A table, divided along each axis at random places, in random order."""
    divided = [((), ())]
    for length in table.shape:
        divided = [((*start, a), (*stop, b)) for start, stop in divided for a, b in cuts(rng, length)]
    rng.shuffle(divided)
    return [
        Part(name, table.shape, tuple(map(int, start)), tf.constant(table[tuple(map(slice, start, stop))]))
        for start, stop in divided
    ]


def random_part(rng, shape):
    start = [int(rng.integers(0, length)) for length in shape]
    return tuple(start), tuple(int(rng.integers(1, length - first + 1)) for first, length in zip(start, shape))


def write_all(folder, parts, num_writers, rng, prefix="whole"):
    """Several writers write parts to one or more files each, as the processes do, and these are merged."""
    prefixes = []
    for number in range(num_writers):
        mine = parts[number::num_writers]
        for file, share in enumerate(np.array_split(np.arange(len(mine)), rng.integers(1, 3))):
            if len(share):
                prefixes.append(f"{folder}/{prefix}_part-{number}-{file}")
                write(prefixes[-1], [mine[each] for each in share])
    merge(prefixes, f"{folder}/{prefix}")
    return f"{folder}/{prefix}"


@pytest.mark.parametrize("seed", range(40))
def test_any_division_of_a_table_gives_any_part_of_it(seed, tmp_path):
    rng = np.random.default_rng(seed)
    shape = tuple(int(length) for length in rng.integers(1, 30, rng.integers(1, 3)))
    dtype = (np.float32, np.float64, np.int64)[seed % 3]
    table = (rng.normal(size=shape) * 1000).astype(dtype)

    prefix = write_all(tmp_path, parts_of(rng, "table", table), int(rng.integers(1, 5)), rng)

    np.testing.assert_array_equal(read(prefix, "table", table.dtype, shape, (0,) * len(shape), shape), table)
    for _ in range(10):
        start, size = random_part(rng, shape)
        expected = table[tuple(slice(a, a + n) for a, n in zip(start, size))]
        np.testing.assert_array_equal(read(prefix, "table", table.dtype, shape, start, size), expected)


def test_tensors_of_all_kinds_in_one_checkpoint_which_tensorflow_alone_can_read(tmp_path):
    rng = np.random.default_rng(1)
    table, other = rng.normal(size=(9, 5)).astype(np.float32), rng.normal(size=(9,)).astype(np.float32)
    parts = [
        *parts_of(rng, "0/table", table),
        *parts_of(rng, "1/other", other),
        Part("step", (), (), tf.constant(7, tf.int64)),
        Part("position", (), (), tf.constant(json.dumps({"word": "ü\0\n"}))),
    ]

    prefix = write_all(tmp_path, parts, 3, rng)

    reader = tf.train.load_checkpoint(prefix)
    assert reader.get_variable_to_shape_map() == {"0/table": [9, 5], "1/other": [9], "step": [], "position": []}
    np.testing.assert_array_equal(reader.get_tensor("0/table"), table)
    np.testing.assert_array_equal(reader.get_tensor("1/other"), other)
    assert read(prefix, "step", tf.int64).numpy() == 7
    assert json.loads(read(prefix, "position", tf.string).numpy()) == {"word": "ü\0\n"}
    with pytest.raises(tf.errors.NotFoundError):
        read(prefix, "nothing", tf.float32)


def test_merging_leaves_the_whole_alone_and_writes_its_index_last(tmp_path):
    rng = np.random.default_rng(2)
    table = rng.normal(size=(20, 6)).astype(np.float32)

    prefix = write_all(tmp_path, parts_of(rng, "table", table), 3, rng)

    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == {"whole"}
    assert (tmp_path / "whole.index").exists()
    assert prefix == str(tmp_path / "whole")


def test_numbers_are_kept_to_the_bit(tmp_path):
    bits = np.array([[0, 1, 0x80000000, 0x7F800000], [0x7FC12345, 0xFF800000, 0x00000001, 0x7F7FFFFF]], np.uint32)
    table = bits.view(np.float32)  # zeros of both signs, infinities, NaN, the smallest and the largest number

    write(f"{tmp_path}/a", [Part("table", (2, 4), (0, 0), tf.constant(table[:, :1]))])
    write(f"{tmp_path}/b", [Part("table", (2, 4), (0, 1), tf.constant(table[:, 1:]))])
    merge([f"{tmp_path}/b", f"{tmp_path}/a"], f"{tmp_path}/c")

    found = read(f"{tmp_path}/c", "table", tf.float32, (2, 4), (0, 0), (2, 4)).numpy()
    assert found.tobytes() == table.tobytes()


def test_a_part_that_nobody_has_written_is_missed(tmp_path):
    """A process that died before it wrote its columns must not leave zeros."""
    table = np.ones((4, 6), np.float32)
    write(f"{tmp_path}/a", [Part("table", (4, 6), (0, 0), tf.constant(table[:, :2]))])
    merge([f"{tmp_path}/a"], f"{tmp_path}/c")

    np.testing.assert_array_equal(read(f"{tmp_path}/c", "table", tf.float32, (4, 6), (0, 0), (4, 2)), table[:, :2])
    for start, size in (((0, 0), (4, 6)), ((0, 2), (4, 4)), ((1, 1), (2, 3))):
        with pytest.raises(tf.errors.OpError):
            read(f"{tmp_path}/c", "table", tf.float32, (4, 6), start, size)


def test_a_file_that_is_gone_is_missed_in_merging(tmp_path):
    for name in "ab":
        write(f"{tmp_path}/{name}", [Part(name, (), (), tf.constant(1.0))])
    next(tmp_path.glob("b.index")).unlink()

    with pytest.raises(tf.errors.OpError):
        merge([f"{tmp_path}/a", f"{tmp_path}/b"], f"{tmp_path}/c")
    assert not (tmp_path / "c.index").exists()


DAMAGES = {
    "cut off": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a bit": lambda content: content[:5] + bytes([content[5] ^ 16]) + content[6:],
    "something else": lambda content: b"x" * len(content),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["index", "data of all", "data of one"])
def test_damage_is_found(kind, damage, tmp_path):
    rng = np.random.default_rng(5)
    table = rng.normal(size=(20, 6)).astype(np.float32)
    prefix = write_all(tmp_path, parts_of(rng, "table", table), 3, rng)
    files = sorted(tmp_path.glob("whole.index" if kind == "index" else "whole.data-*"))
    assert files
    for file in files[: 1 if kind == "data of one" else None]:
        file.write_bytes(DAMAGES[damage](file.read_bytes()))

    with pytest.raises((tf.errors.OpError, OSError, ValueError)):
        read(prefix, "table", tf.float32, (20, 6), (0, 0), (20, 6))


def test_another_shape_or_type_than_that_which_was_written_is_refused(tmp_path):
    prefix = write_all(tmp_path, [Part("t", (4, 6), (0, 0), tf.ones((4, 6)))], 1, np.random.default_rng(0))

    for dtype, shape, size in (
        (tf.float64, (4, 6), (4, 6)),
        (tf.float32, (6, 4), (6, 4)),
        (tf.float32, (4, 6), (5, 6)),
    ):
        with pytest.raises((tf.errors.OpError, ValueError)):
            found = read(prefix, "t", dtype, shape, (0, 0), size)
            if tuple(found.shape) != size:
                raise ValueError("another shape")  # a whole tensor is read as it is


@pytest.mark.parametrize("shape, start, size, expected", [
    ((), (), (), ""), ((6, 4), (0, 0), (6, 4), ""), ((6, 4), (0, 2), (3, 2), "6 4 0,3:2,2"),
    ((9,), (4,), (5,), "9 4,5"),
])  # fmt: skip
def test_the_text_for_a_part(shape, start, size, expected):
    assert bundle._spec(shape, start, size) == expected
