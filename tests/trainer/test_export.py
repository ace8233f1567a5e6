"""Each exported file is loaded as its users load it. The SavedModel is loaded in a process with TensorFlow alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import TOPICS
from trainer import export, word2vec_format
from trainer.dataset import open_dataset
from trainer.errors import UserError

DIM = 6
NAMES = ["vectors.bin", "vectors.txt", "vectors.tsv", "metadata.tsv", "saved_model"]

# Loads a SavedModel in a process that cannot import this project, Beam or TFT. Prints what the signatures return.
CLIENT = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('trainer', 'pipeline', 'apache_beam', 'tensorflow_transform'):
            raise ImportError('not in this process: ' + name)

sys.meta_path.insert(0, Refuse())
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
call = model.signatures
words = tf.constant(json.loads(sys.argv[2]))
text = tf.constant(json.loads(sys.argv[3]))
nearest = call['nearest'](words=words, k=tf.constant(int(sys.argv[4])))
print(json.dumps({
    'embed_words': call['embed_words'](words=words)['vectors'].numpy().tolist(),
    'embed_text': call['embed_text'](text=text)['vectors'].numpy().tolist(),
    'tokenize': call['tokenize'](text=text)['ids'].numpy().tolist(),
    'words': [[word.decode() for word in row] for row in nearest['words'].numpy()],
    'cosines': nearest['cosines'].numpy().tolist(),
}))
"""


@pytest.fixture(scope="module")
def exported(dataset_dir, tmp_path_factory):
    """(model directory, words by id, embeddings by id). The dataset of the model has been deleted."""
    directory = tmp_path_factory.mktemp("export")
    data = shutil.copytree(dataset_dir, directory / "data")
    dataset = open_dataset(str(data))
    embeddings = np.random.default_rng(0).normal(size=(dataset.vocab_size, DIM)).astype(np.float32)
    (directory / "model").mkdir()
    names = export.export(dataset, embeddings, str(directory / "model"))
    assert names == NAMES
    assert sorted(names) == sorted(path.name for path in (directory / "model").iterdir())
    words = dataset.words()
    shutil.rmtree(data)
    return directory / "model", words, embeddings


def ask(exported, words, text=("",), k=3):
    """Calls all signatures of the SavedModel."""
    result = subprocess.run(
        [sys.executable, "-c", CLIENT, str(exported[0] / "saved_model"), json.dumps(words), json.dumps(text), str(k)],
        capture_output=True, text=True, cwd="/", timeout=120,
    )  # fmt: skip
    assert not result.returncode, result.stderr
    return json.loads(result.stdout)


def test_pad_and_unk_are_in_no_word2vec_file(exported):
    directory, words, embeddings = exported
    for name in ("vectors.bin", "vectors.txt"):
        read = word2vec_format.load(str(directory / name))
        assert read.words == words[2:]
        np.testing.assert_array_equal(read.vectors, embeddings[2:])


def test_projector_files_go_together(exported):
    directory, words, embeddings = exported
    assert (directory / "metadata.tsv").read_text().splitlines() == words[2:]
    np.testing.assert_array_equal(
        np.loadtxt(directory / "vectors.tsv", delimiter="\t", dtype=np.float32), embeddings[2:]
    )


def test_saved_model_signatures(exported):
    _, words, embeddings = exported
    index = {word: row for row, word in enumerate(words)}
    text = ["The cat, and a DOG!", "", "cat nonsenseword", "nonsenseword"]
    said = ask(exported, ["cat", "nonsenseword", "[UNK]", "mother"], text)

    zeros = [0.0] * DIM
    np.testing.assert_array_equal(
        said["embed_words"], [embeddings[index["cat"]], zeros, zeros, embeddings[index["mother"]]]
    )
    ids = [[index[word] for word in "the cat and a dog".split()], [0] * 5, [index["cat"], 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    assert said["tokenize"] == ids
    np.testing.assert_allclose(
        said["embed_text"], [embeddings[ids[0]].mean(axis=0), zeros, embeddings[index["cat"]], zeros], rtol=1e-5
    )

    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    for row, word in ((0, "cat"), (3, "mother")):
        cosines = unit @ unit[index[word]]
        cosines[[0, 1, index[word]]] = -np.inf
        best = np.argsort(-cosines)[:3]
        assert said["words"][row] == [words[i] for i in best]
        np.testing.assert_allclose(said["cosines"][row], cosines[best], rtol=1e-5)
    assert said["words"][1] == said["words"][2] == [""] * 3
    assert said["cosines"][1] == [0.0] * 3


def test_more_neighbours_than_words_are_all_words(exported):
    _, words, _ = exported
    said = ask(exported, [TOPICS["animals"][0]], k=10_000)
    assert sorted(said["words"][0]) == sorted(set(words[2:]) - {TOPICS["animals"][0]})


def damage(monkeypatch, name):
    """Changes a byte of the file of that name whenever it is opened for reading."""
    opened = export.gfile.GFile

    def open_damaged(path, mode="r"):
        if mode == "rb" and os.path.basename(path) == name:
            content = bytearray(Path(path).read_bytes())
            content[len(content) // 2] ^= 1
            Path(path).write_bytes(content)
        return opened(path, mode)

    monkeypatch.setattr(export.gfile, "GFile", open_damaged)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_cannot_be_read_back_replaces_nothing(exported, dataset_dir, tmp_path, monkeypatch, name):
    for existing in NAMES:
        (tmp_path / existing).write_text("precious")
    damage(monkeypatch, name)
    save_model = export.save_model
    if name == "saved_model":
        monkeypatch.setattr(export, "save_model", lambda dataset, vectors, path: save_model(dataset, -vectors, path))
    with pytest.raises(export.ExportError, match=rf"{name} does not hold what was written to it"):
        export.export(open_dataset(str(dataset_dir)), exported[2], str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"precious"}


def test_nan_is_not_exported(exported, dataset_dir, tmp_path):
    embeddings = exported[2].copy()
    embeddings[-1, -1] = np.nan
    with pytest.raises(export.ExportError, match="would not be the same when it is read back"):
        export.export(open_dataset(str(dataset_dir)), embeddings, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_nothing_is_exported_if_the_dataset_has_been_replaced(exported, dataset_dir, tmp_path):
    """The words would not be those of the vectors."""
    data = shutil.copytree(dataset_dir, tmp_path / "data")
    dataset = open_dataset(str(data))
    (tmp_path / "model").mkdir()
    for existing in NAMES:
        (tmp_path / "model" / existing).write_text("precious")
    (data / "vocabulary.tsv").write_bytes((data / "vocabulary.tsv").read_bytes())
    with pytest.raises(UserError, match=r"was replaced while it was trained on: vocabulary\.tsv has been changed"):
        export.export(dataset, exported[2], str(tmp_path / "model"))
    assert {path.name: path.read_text() for path in (tmp_path / "model").iterdir()} == dict.fromkeys(NAMES, "precious")


@pytest.mark.parametrize("spelled", [str, lambda path: os.fsencode(path).decode("ascii", "surrogateescape")])
def test_an_export_from_and_to_an_odd_path_is_the_same(exported, dataset_dir, tmp_path, spelled):
    """Also if the locale is ASCII, so that Python has bytes in place of the letters that are not."""
    odd = tmp_path / "ü 語 [v2] 'q\" *\n"
    data = shutil.copytree(dataset_dir, odd / "data")
    (odd / "model").mkdir()
    assert export.export(open_dataset(spelled(str(data))), exported[2], spelled(str(odd / "model"))) == NAMES
    assert sorted(path.name for path in (odd / "model").iterdir()) == sorted(NAMES)
    for name in (
        *NAMES[:4],
        "saved_model/assets/vocabulary.tsv",
        "saved_model/variables/variables.data-00000-of-00001",
    ):
        assert (odd / "model" / name).read_bytes() == (exported[0] / name).read_bytes(), name
    shutil.rmtree(data)
    plain = shutil.copytree(odd / "model/saved_model", tmp_path / "plain")
    vectors = tf.saved_model.load(str(plain)).signatures["embed_text"](text=tf.constant(["cat"]))["vectors"]
    np.testing.assert_array_equal(vectors[0], exported[2][exported[1].index("cat")])


def test_an_export_to_another_file_system_replaces_the_one_before(exported, dataset_dir):
    dataset, directory = open_dataset(str(dataset_dir)), "ram://model"
    for embeddings in (-exported[2], exported[2]):
        export.export(dataset, embeddings, directory)
    for name in NAMES[:4]:  # ram:// does not rename directories as other file systems do, so saved_model is left out
        with export.gfile.GFile(f"{directory}/{name}", "rb") as file:
            assert file.read() == (exported[0] / name).read_bytes()
