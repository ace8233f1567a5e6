"""What a model keeps for training on, and the exports that are written when asked. gensim loads the latter."""

import json
import os
import re

import numpy as np
import pytest
from gensim.models import KeyedVectors

from tests.contract.make import FOLDER
from trainer import export, state, tables, training
from trainer.config import TrainerConfig
from trainer.dataset import open_dataset
from trainer.errors import UserError
from trainer.layout import DEFAULT_EXPORTS, EXPORTS

DIM = 6
SMALL = "vectors.bin,context_vectors.bin,vocabulary.txt"
ARRAYS = ("target_embeddings", "context_embeddings", "target_accumulators", "context_accumulators")


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(str(FOLDER / "blocks"))


@pytest.fixture(scope="module")
def arrays(dataset):
    """By name, what is in a state: tables and accumulators of other numbers in each row."""
    rng = np.random.default_rng(3)
    shapes = [(dataset.vocab_size, DIM)] * 2 + [(dataset.vocab_size,)] * 2
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in zip(ARRAYS, shapes, strict=True)}


def exported(dataset, arrays, directory, exports=SMALL, keeps_state=True):
    """Exports the arrays in blocks of 7 rows."""

    def blocks(name):
        return iter(np.split(arrays[f"{name}"], range(7, dataset.vocab_size, 7)))

    others = export.Others(
        blocks(ARRAYS[1]), "rowwise_adagrad", [blocks(name) for name in ARRAYS[2:]], keeps_state=keeps_state
    )
    names = TrainerConfig("d", "o", exports=exports).names_of_exports
    return export.export(dataset, blocks(ARRAYS[0]), DIM, str(directory), names=names, others=others)


@pytest.fixture(scope="module")
def model(dataset, arrays, tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    assert exported(dataset, arrays, directory) == [*SMALL.split(","), "state"] == sorted_names(directory)
    return directory


def sorted_names(directory):
    """What a directory holds, in the order of the exports."""
    return sorted(os.listdir(directory), key=[*EXPORTS, "state"].index)


def test_a_state_gives_back_what_was_written_and_numpy_reads_it(model, dataset, arrays, monkeypatch):
    monkeypatch.setattr(state, "_BLOCK_BYTES", 5 * 4 * DIM)
    found = state.open_state(str(model), "--init")

    assert (found.vocab_size, found.embedding_dim, found.optimizer) == (dataset.vocab_size, DIM, "rowwise_adagrad")
    assert found.dataset == dataset.fingerprint
    assert found.words() == dataset.words()
    assert (model / "state/vocabulary.tsv").read_bytes() == (FOLDER / "blocks/vocabulary.tsv").read_bytes()
    assert [len(block) for block in found.blocks(state.CONTEXTS)][:2] == [5, 5]
    for name, expected in arrays.items():
        np.testing.assert_array_equal(found.read(f"{name}.npy"), expected)
        np.testing.assert_array_equal(np.load(model / f"state/{name}.npy", mmap_mode="r"), expected)


def test_gensim_loads_the_context_vectors_and_the_counts(model, dataset, arrays):
    vectors = KeyedVectors.load_word2vec_format(
        str(model / "context_vectors.bin"), fvocab=str(model / "vocabulary.txt"), binary=True
    )

    assert vectors.index_to_key == dataset.words()[2:]
    np.testing.assert_array_equal(vectors.vectors, arrays["context_embeddings"][2:])
    lines = [line.split("\t") for line in (FOLDER / "blocks/vocabulary.tsv").read_text().splitlines()[2:]]
    assert {word: vectors.get_vecattr(word, "count") for word in vectors.index_to_key} == {
        word: int(count) for word, count in lines
    }


def test_what_is_not_asked_for_is_removed(dataset, arrays, tmp_path):
    """An older file would be that of another model."""
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "vectors.tsv").write_text("older")
    exported(dataset, arrays, tmp_path)
    assert exported(dataset, arrays, tmp_path, "vectors.txt", keeps_state=False) == ["vectors.txt"]
    assert os.listdir(tmp_path) == ["vectors.txt"]


def test_the_names_of_exports():
    assert TrainerConfig("d", "o").names_of_exports == DEFAULT_EXPORTS
    assert TrainerConfig("d", "o", exports="all").names_of_exports == EXPORTS
    assert TrainerConfig("d", "o", exports="vectors.txt,vectors.bin").names_of_exports == ("vectors.bin", "vectors.txt")


@pytest.mark.parametrize("name", [*(f"{each}.npy" for each in ARRAYS), "vocabulary.tsv", "state.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_damage_is_told_with_the_file(name, damage, dataset, arrays, tmp_path):
    exported(dataset, arrays, tmp_path)
    path = tmp_path / "state" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 128
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flipped" else content[:-1])

    with pytest.raises(UserError) as raised:
        found = state.open_state(str(tmp_path), "--init")
        for each in ARRAYS:
            found.read(f"{each}.npy")
    assert f"state/{name}" in str(raised.value) and "\n" not in str(raised.value)


def test_a_model_without_a_state_is_told_apart_from_no_model(tmp_path):
    with pytest.raises(UserError, match=r"--init .* holds no state/state\.json: expected the --output of a training"):
        state.open_state(str(tmp_path), "--init")
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="--init .* holds a model without state/.*: train it again, without --no_state"):
        state.open_state(str(tmp_path), "--init")


@pytest.mark.parametrize("key, value", [("form", 2), ("vocab_size", "3"), ("embedding_dim", 5), ("files", {})])
def test_a_state_of_other_values_is_refused(key, value, model, dataset, arrays, tmp_path):
    exported(dataset, arrays, tmp_path)
    path = tmp_path / "state/state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    with pytest.raises(UserError, match=re.escape(f"{path} ")):
        state.open_state(str(tmp_path), "--init")


def test_the_exported_tables_are_those_of_the_model(dataset, tmp_path):
    """Adam has no accumulators that are kept."""
    for optimizer, files in (("rowwise_adagrad", 5), ("adam", 3)):
        config = TrainerConfig(str(FOLDER / "blocks"), "unused", embedding_dim=DIM, batch_size=2, optimizer=optimizer)
        trained, _ = training.build_model(config, dataset)
        expected = [each.numpy() for each in trained.trainable_variables]
        for number, variable in enumerate(getattr(trained.optimizer, "accumulators", [])):
            variable.assign(np.arange(dataset.vocab_size) + number)
            expected.append(variable.numpy())
        folder = tmp_path / optimizer
        folder.mkdir()
        others = training._others(config, trained)
        export.export(dataset, tables.give_away(trained), DIM, str(folder), names=["vectors.bin"], others=others)

        found = state.open_state(str(folder), "--init")
        assert len(os.listdir(folder / "state")) == files + 1
        assert found.optimizer == optimizer
        assert found.has_accumulators == (optimizer == "rowwise_adagrad")
        for name, values in zip(ARRAYS, expected, strict=False):
            np.testing.assert_array_equal(found.read(f"{name}.npy"), values)
