"""The folder for sentence-transformers, read as its StaticEmbedding does: same text, same vectors as the SavedModel.

tests/integration/test_static_embedding.py does the same with sentence-transformers itself.
"""

import json
import struct

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from tests.contract.make import FOLDER
from trainer import export, word2vec_format
from trainer.config import TrainerConfig
from trainer.dataset import open_dataset
from trainer.errors import UserError

DIM = 6
NAMES = ["vectors.bin", "saved_model", "static_embedding"]
FILES = ["config_sentence_transformers.json", "model.safetensors", "modules.json", "tokenizer.json"]
TEXTS = [
    "The cat, and a DOG!",
    "",
    " \t ",
    "nonsenseword",
    "cat nonsenseword cat",
    "Mother's “goose”—the RED one… [UNK] [PAD]",
    "cat\u00adgoose ca\u00adt",
    "nonsense " * 1_000 + "cat",
    "cat dog " * 10_000,
]


def exported_to(directory, dataset, embeddings, sizes=(), names=NAMES):
    pieces = iter(np.split(embeddings, np.cumsum(sizes)))
    return export.export(dataset, pieces, embeddings.shape[1], str(directory), names=names)


@pytest.fixture(scope="module")
def dataset(dataset_dir):
    return open_dataset(str(dataset_dir))


@pytest.fixture(scope="module")
def embeddings(dataset):
    return np.random.default_rng(0).normal(size=(dataset.vocab_size, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def model(dataset, embeddings, tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    assert exported_to(directory, dataset, embeddings) == NAMES
    return directory


def embed(folder, texts):
    """What StaticEmbedding does: the mean of the rows of all tokens, which is zero where there are none."""
    table = load_file(str(folder / "model.safetensors"))["embedding.weight"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return np.array([table[each.ids].mean(axis=0) if each.ids else np.zeros(DIM) for each in encodings])


def test_the_vectors_of_texts_are_those_of_the_saved_model(model):
    embed_text = tf.saved_model.load(str(model / "saved_model")).signatures["embed_text"]
    expected = embed_text(text=tf.constant(TEXTS))["vectors"]
    np.testing.assert_allclose(embed(model / "static_embedding", TEXTS), expected, rtol=1e-5, atol=1e-6)
    assert np.any(expected, axis=1).tolist() == [True, False, False, False, True, True, True, True, True]


def test_the_vectors_of_words_are_those_of_vectors_bin(model):
    vectors = word2vec_format.load(str(model / "vectors.bin"))
    (name, table), *others = load_file(str(model / "static_embedding/model.safetensors")).items()
    assert name == "embedding.weight" and table.dtype == np.float32 and not others
    np.testing.assert_array_equal(table, vectors.vectors)
    np.testing.assert_array_equal(embed(model / "static_embedding", vectors.words), vectors.vectors)
    assert Tokenizer.from_file(str(model / "static_embedding/tokenizer.json")).get_vocab_size() == len(vectors.words)


def test_the_folder_says_what_it_is(model):
    folder = model / "static_embedding"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    (module,) = json.loads((folder / "modules.json").read_text())
    assert module["type"] == "sentence_transformers.models.StaticEmbedding" and module["path"] == "."
    content = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    assert length % 8 == 0 and json.loads(content[8 : 8 + length])["__metadata__"] == {"format": "pt"}


def test_the_bytes_do_not_depend_on_the_blocks(model, dataset, embeddings, tmp_path):
    exported_to(tmp_path, dataset, embeddings, [1, 1, 1, 7, 20], ["static_embedding"])
    for name in FILES:
        assert (tmp_path / "static_embedding" / name).read_bytes() == (model / "static_embedding" / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_back_replaces_nothing(dataset, embeddings, tmp_path, monkeypatch, name):
    (tmp_path / "static_embedding").mkdir()
    (tmp_path / "static_embedding/modules.json").write_text("precious")
    opened = export.gfile.GFile

    def open_damaged(path, mode="r"):
        if mode == "rb" and path.endswith(name):
            with opened(path, "ab") as file:
                file.write(b" ")
        return opened(path, mode)

    monkeypatch.setattr(export.gfile, "GFile", open_damaged)
    with pytest.raises(export.ExportError, match=rf"{name} does not hold what was written to it"):
        exported_to(tmp_path, dataset, embeddings, names=["static_embedding"])
    assert [path.read_text() for path in tmp_path.glob("*/*")] == ["precious"]


def test_what_cannot_be_written_is_told_before_the_training(caplog):
    """With phrases, the same text would have other vectors."""
    phrases = open_dataset(str(FOLDER / "phrases"))
    asked = TrainerConfig("d", "o", exports="vectors.bin,static_embedding")
    with pytest.raises(
        UserError, match="--exports vectors.bin,static_embedding: static_embedding cannot be .* phrases"
    ):
        export.possible_exports(asked, phrases)
    every = export.possible_exports(TrainerConfig("d", "o", exports="all"), phrases)
    assert "static_embedding" not in every.names_of_exports and "vector_search" in every.names_of_exports
    (line,) = caplog.messages
    assert line.startswith("static_embedding is not written: the dataset joins words to phrases")
    default = TrainerConfig("d", "o")
    assert export.possible_exports(default, phrases) is default and len(caplog.messages) == 1
    blocks = open_dataset(str(FOLDER / "blocks"))
    assert export.possible_exports(asked, blocks) is asked
