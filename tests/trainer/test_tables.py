"""The tables after training: whole rows come out block by block, and the memory is free again."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT
from tests.contract.make import FOLDER
from trainer import row_blocks, tables, training
from trainer.config import TrainerConfig
from trainer.dataset import open_dataset


@pytest.fixture
def model():
    config = TrainerConfig(str(FOLDER / "blocks"), "unused", embedding_dim=6, batch_size=2)
    return training.build_model(config, open_dataset(config.data))[0]


def test_the_rows_come_in_blocks_and_nothing_is_left_of_the_tables(model, monkeypatch):
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 4 * 6 * 8)  # 8 rows
    expected = model.target_embeddings.numpy()
    blocks = tables.give_away(model)

    first = next(blocks)
    assert first.shape == (8, 6)
    assert model.context_embeddings.value.read_value().shape == (0, 6)  # it is freed before anything is written
    found = [first, *blocks]

    assert [len(block) for block in found[:-1]] == [8] * (len(found) - 1)
    assert np.array_equal(np.concatenate(found), expected)
    assert model.target_embeddings.value.read_value().shape == (0, 6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("row", [0, 8, -1])
@pytest.mark.parametrize("table", [0, 1])
def test_a_number_that_is_not_finite_is_found_anywhere(value, row, table, model, monkeypatch):
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 4 * 6 * 8)
    assert tables.is_finite(model)
    variable = model.trainable_variables[table].value
    variable.assign(tf.tensor_scatter_nd_update(variable, [[row % variable.shape[0], 5]], [value]))

    assert not tables.is_finite(model)


def test_a_table_is_drawn_saved_and_given_away_without_a_second_one(tmp_path):
    """Keras's initializer alone would take three tables at once."""
    script = """
import resource, sys
from trainer import devices
devices.prepare("float32")
import tensorflow as tf
from tests.contract.make import FOLDER
from trainer import tables
from trainer.checkpoints import Checkpoints, Position
from trainer.columns import Columns
from trainer.config import TrainerConfig
from trainer.dataset import open_dataset
from trainer.group import Group
from trainer.model import SkipGram
from trainer.optimizer import RowwiseAdagrad

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

example_format = open_dataset(str(FOLDER / "blocks")).example_format
def run(rows, folder):
    model = SkipGram(rows, 128, example_format)
    model.compile(RowwiseAdagrad())
    model.optimizer.build(model.trainable_variables)
    checkpoints = Checkpoints(model, folder, Group())
    checkpoints.start({})
    checkpoints.save(Position())
    assert tables.is_finite(model)
    assert checkpoints.restore({})
    return sum(len(block) for block in tables.give_away(model))

run(1000, sys.argv[1] + "/small")
before = peak()
assert run(1_000_000, sys.argv[1] + "/large") == 1_000_000
print((peak() - before) / (1_000_000 * 128 * 4))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert float(done.stdout) < 2.6, "there are two tables, and a few blocks of 0.13 of a table"
