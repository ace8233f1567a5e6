"""Which columns each process holds: all of them together, and the numbers that one process alone would have drawn."""

import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.contract.make import FOLDER
from trainer import row_blocks as module
from trainer import training
from trainer.batches import epoch_batches
from trainer.columns import Columns
from trainer.config import TrainerConfig
from trainer.dataset import open_dataset
from trainer.formats import Blocks, Pairs
from trainer.group import Group
from trainer.model import SkipGram
from trainer.row_blocks import row_blocks

SIZES = [1, 2, 3, 4, 5, 7, 8, 16, 100, 128, 300, 1024]
FORMATS = {"blocks": Blocks(8, 6, 3), "pairs": Pairs(3)}


@pytest.mark.parametrize("size", SIZES)
def test_the_shares_cover_all_columns(size):
    for dimension in range(size, size + 300, 1 + size // 8):
        shares = [Columns.share(dimension, rank, size, list) for rank in range(size)]

        assert shares[0].start == 0 and shares[-1].stop == dimension
        assert all(one.stop == next_one.start for one, next_one in zip(shares, shares[1:]))
        assert {share.width for share in shares} <= {dimension // size, dimension // size + 1}
        assert all(share.width >= 1 and share.dimension == dimension for share in shares)
        assert [share.is_whole for share in shares] == [size == 1] * size


def test_whole_columns_are_added_up_as_they_are():
    whole = Columns.whole(7)
    tensors = [tf.constant([1.0, 2.0]), tf.constant(3.0)]

    assert (whole.start, whole.stop, whole.width, whole.is_whole) == (0, 7, 7, True)
    assert [total is tensor for total, tensor in zip(whole.add_up(tensors), tensors)] == [True, True]


@pytest.mark.parametrize("dimension", [1, 3, 128, 65_536, 100_000_000])
@pytest.mark.parametrize("num_rows", [1, 2, 5, 4_000, 300_007])
def test_blocks_of_rows_cover_a_table(num_rows, dimension):
    if num_rows * dimension > 1e11:
        num_rows %= 1009
    blocks = list(row_blocks(num_rows, dimension))

    assert [block.start for block in blocks] == [0, *(block.stop for block in blocks[:-1])]
    assert blocks[-1].stop == num_rows
    assert all((block.stop - block.start) % 4 == 0 for block in blocks[:-1])
    for block in blocks:
        assert 0 < block.stop - block.start
        assert 4 * dimension * (block.stop - block.start) <= max(64 << 20, 4 * dimension * 4)


def model(num_rows, dimension, columns=None, initialization="word2vec", form="blocks", seed=11):
    return SkipGram(num_rows, dimension, FORMATS[form], "negative_sampling", initialization, seed, columns)


@pytest.fixture(params=[64 << 20, 1 << 9], ids=["one block", "blocks of 512 bytes"])
def block_bytes(request, monkeypatch):
    monkeypatch.setattr("trainer.initialization._BYTES_OF_A_DRAW", request.param)
    monkeypatch.setattr(module, "BLOCK_BYTES", request.param)


@pytest.mark.parametrize("initialization", ["word2vec", "keras"])
@pytest.mark.parametrize("num_rows, dimension, size", [
    (13, 7, 2), (13, 7, 3), (13, 7, 7), (50, 16, 1), (50, 16, 5), (2, 1, 1), (101, 33, 4),
])  # fmt: skip
def test_the_first_tables_of_the_processes_are_columns_of_that_of_one(
    num_rows, dimension, size, initialization, block_bytes
):
    whole = model(num_rows, dimension, initialization=initialization)
    parts = [
        model(num_rows, dimension, Columns.share(dimension, rank, size, list), initialization) for rank in range(size)
    ]

    for number in range(2):
        tables = [each.trainable_variables[number].numpy() for each in [whole, *parts]]
        assert tables[0].tobytes() == np.concatenate(tables[1:], axis=1).tobytes()


@pytest.mark.parametrize("initialization, limits", [("word2vec", (0.5 / 7, 0.0)), ("keras", (0.05, 0.05))])
@pytest.mark.parametrize("seed", [0, 1, 2**31 - 4])  # Keras takes larger seeds for others
def test_the_first_tables_are_those_that_keras_draws(initialization, limits, seed, block_bytes):
    tables = model(113, 7, initialization=initialization, seed=seed).trainable_variables

    for number, (table, limit) in enumerate(zip(tables, limits)):
        drawn = (
            keras.initializers.RandomUniform(-limit, limit, seed + number)((113, 7)) if limit else np.zeros((113, 7))
        )
        np.testing.assert_array_equal(table.numpy(), np.float32(drawn))


@pytest.mark.parametrize(
    "form, loss", [("blocks", "negative_sampling"), ("pairs", "negative_sampling"), ("pairs", "softmax")]
)
def test_the_logits_of_the_parts_add_up_to_those_of_the_whole(form, loss):
    """So the loss that every process computes is that of one process, and so are the gradients by its columns."""
    size, dimension, num_rows = 3, 10, 30
    whole = model(num_rows, dimension, None, "keras", form)
    parts = [model(num_rows, dimension, Columns.share(dimension, r, size, list), "keras", form) for r in range(size)]
    rng = np.random.default_rng(3)
    targets, contexts = (tf.constant(rng.integers(0, num_rows, (4, width)), tf.int32) for width in (8, 14))

    expected = whole(targets, contexts)
    total = tf.add_n([part(targets, contexts) for part in parts])

    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-7)


class ThreadGroup(Group):
    """A group whose processes are threads, which add up eagerly."""

    def __init__(self, rank, size, meeting):
        self.rank, self.size = rank, size
        self._barrier, self._tensors = meeting

    def columns(self, dimension):
        return Columns.share(dimension, self.rank, self.size, self._add_up)

    def _add_up(self, tensors):
        self._tensors[self.rank] = list(tensors)
        self._barrier.wait(60)
        total = [tf.add_n(each) for each in zip(*(self._tensors[rank] for rank in range(self.size)), strict=True)]
        self._barrier.wait(60)
        return total


def trained(config, size):
    """Trains for some steps. Returns, for each process, what the steps gave, and all variables."""
    dataset = open_dataset(config.data)
    meeting = threading.Barrier(size), {}
    models = [training.build_model(config, dataset, ThreadGroup(rank, size, meeting))[0] for rank in range(size)]

    def run(each):
        batches = epoch_batches(dataset, config.batch_size, config.seed, 0).take(4)
        return [[float(value) for value in each.step(batch)] for batch in batches]

    with ThreadPoolExecutor(size) as pool:
        steps = list(pool.map(run, models))
    return steps, [[variable.value.numpy() for variable in [*m.variables, *m.optimizer.variables]] for m in models]


@pytest.fixture
def eagerly():
    """Compiling takes most of the time. tests/trainer/test_several.py has it compiled."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("dataset, loss, optimizer", [
    ("blocks", "negative_sampling", "rowwise_adagrad"), ("blocks", "negative_sampling", "adam"),
    ("pairs", "negative_sampling", "rowwise_adagrad"), ("pairs", "softmax", "rowwise_adagrad"),
    ("pairs", "negative_sampling", "adam"), ("pairs", "softmax", "adam"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:Even though the .* option is set:UserWarning")
def test_the_steps_of_several_are_those_of_one(dataset, loss, optimizer, eagerly):
    dimension, size = 7, 3
    config = TrainerConfig(
        str(FOLDER / dataset), "unused", embedding_dim=dimension, batch_size=3, loss=loss, optimizer=optimizer,
        initialization="keras", precision="float32", learning_rate=0.2 if optimizer == "rowwise_adagrad" else 0.01,
    )  # fmt: skip

    (expected,), (variables,) = trained(config, 1)
    steps, parts = trained(config, size)

    np.testing.assert_allclose(steps, [expected] * size, rtol=1e-6)
    for number, variable in enumerate(variables):
        if variable.ndim == 2:
            together = np.concatenate([part[number] for part in parts], axis=1)
            np.testing.assert_allclose(together, variable, atol=1e-5, rtol=1e-5)
        else:  # all processes have the same
            for part in parts:
                np.testing.assert_allclose(part[number], variable, rtol=1e-5, atol=1e-8)
