"""Each exported file is loaded as its users load it. The SavedModel is loaded in a process with TensorFlow alone."""

import json
import os
import shutil
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import TOPICS
from trainer import export, row_blocks, saved_model, word2vec_format
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
for question in sys.argv[2:]:
    words, text, k = map(tf.constant, json.loads(question))
    nearest = call['nearest'](words=words, k=k)
    print(json.dumps({
        'embed_words': call['embed_words'](words=words)['vectors'].numpy().tolist(),
        'embed_text': call['embed_text'](text=text)['vectors'].numpy().tolist(),
        'tokenize': call['tokenize'](text=text)['ids'].numpy().tolist(),
        'words': [[word.decode() for word in row] for row in nearest['words'].numpy()],
        'cosines': nearest['cosines'].numpy().tolist(),
    }))
"""
QUESTIONS = [
    (["cat", "nonsenseword", "[UNK]", "mother"], ["The cat, and a DOG!", "", "cat nonsenseword", "nonsenseword"], 3),
    ([TOPICS["animals"][0]], [""], 10_000),
]


def exported_of(dataset, embeddings, directory, sizes=None):
    """Exports a table in pieces; `sizes` are their numbers of rows."""
    blocks = [embeddings[rows] for rows in row_blocks.row_blocks(*embeddings.shape)]
    pieces = blocks if sizes is None else np.split(embeddings, np.cumsum(sizes)[:-1])
    return export.export(dataset, iter(pieces), embeddings.shape[1], str(directory))


@pytest.fixture(scope="module")
def exported(dataset_dir, tmp_path_factory):
    """(model directory, words by id, embeddings by id). The dataset of the model has been deleted."""
    directory = tmp_path_factory.mktemp("export")
    data = shutil.copytree(dataset_dir, directory / "data")
    dataset = open_dataset(str(data))
    embeddings = np.random.default_rng(0).normal(size=(dataset.vocab_size, DIM)).astype(np.float32)
    (directory / "model").mkdir()
    names = exported_of(dataset, embeddings, directory / "model")
    assert names == NAMES
    assert sorted(names) == sorted(path.name for path in (directory / "model").iterdir())
    words = dataset.words()
    shutil.rmtree(data)
    return directory / "model", words, embeddings


@pytest.fixture(scope="module")
def answers(exported):
    """What the signatures of the SavedModel return for each of QUESTIONS: words, text and k."""
    questions = map(json.dumps, QUESTIONS)
    result = subprocess.run(
        [sys.executable, "-c", CLIENT, str(exported[0] / "saved_model"), *questions],
        capture_output=True, text=True, cwd="/", timeout=120,
    )  # fmt: skip
    assert not result.returncode, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


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


def test_saved_model_signatures(exported, answers):
    _, words, embeddings = exported
    index = {word: row for row, word in enumerate(words)}
    said = answers[0]

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


def test_more_neighbours_than_words_are_all_words(exported, answers):
    _, words, _ = exported
    assert sorted(answers[1]["words"][0]) == sorted(set(words[2:]) - {TOPICS["animals"][0]})


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
    write_rows = saved_model.SavedModelWriter.write_rows
    if name == "saved_model":
        monkeypatch.setattr(saved_model.SavedModelWriter, "write_rows", lambda self, rows: write_rows(self, -rows))
    with pytest.raises(export.ExportError, match=rf"{name} does not hold what was written to it"):
        exported_of(open_dataset(str(dataset_dir)), exported[2], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"precious"}


def test_nan_is_not_exported(exported, dataset_dir, tmp_path):
    embeddings = exported[2].copy()
    embeddings[-1, -1] = np.nan
    with pytest.raises(export.ExportError, match="would not be the same when it is read back"):
        exported_of(open_dataset(str(dataset_dir)), embeddings, tmp_path)
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
        exported_of(dataset, exported[2], tmp_path / "model")
    assert {path.name: path.read_text() for path in (tmp_path / "model").iterdir()} == dict.fromkeys(NAMES, "precious")


@pytest.mark.parametrize("spelled", [str, lambda path: os.fsencode(path).decode("ascii", "surrogateescape")])
def test_an_export_from_and_to_an_odd_path_is_the_same(exported, dataset_dir, tmp_path, spelled):
    """Also if the locale is ASCII, so that Python has bytes in place of the letters that are not."""
    odd = tmp_path / "ü 語 [v2] 'q\" *\n"
    data = shutil.copytree(dataset_dir, odd / "data")
    (odd / "model").mkdir()
    assert exported_of(open_dataset(spelled(str(data))), exported[2], spelled(str(odd / "model"))) == NAMES
    assert sorted(path.name for path in (odd / "model").iterdir()) == sorted(NAMES)
    for name in (
        *NAMES[:4],
        "saved_model/assets/vocabulary.tsv",
        *(f"saved_model/variables/variables.data-0000{part}-of-00002" for part in range(2)),
    ):
        assert (odd / "model" / name).read_bytes() == (exported[0] / name).read_bytes(), name
    shutil.rmtree(data)
    plain = shutil.copytree(odd / "model/saved_model", tmp_path / "plain")
    vectors = tf.saved_model.load(str(plain)).signatures["embed_text"](text=tf.constant(["cat"]))["vectors"]
    np.testing.assert_array_equal(vectors[0], exported[2][exported[1].index("cat")])


def test_an_export_to_another_file_system_replaces_the_one_before(exported, dataset_dir):
    dataset, directory = open_dataset(str(dataset_dir)), "ram://model"
    for embeddings in (-exported[2], exported[2]):
        exported_of(dataset, embeddings, directory)
    for name in NAMES[:4]:  # ram:// does not rename directories as other file systems do, so saved_model is left out
        with export.gfile.GFile(f"{directory}/{name}", "rb") as file:
            assert file.read() == (exported[0] / name).read_bytes()


def test_an_export_in_small_pieces_is_the_same(exported, dataset_dir, tmp_path):
    """[PAD] and [UNK] are in pieces of their own, and the words that are looked up come from several pieces."""
    dataset, (directory, words, embeddings) = open_dataset(str(dataset_dir)), exported
    exported_of(dataset, embeddings, tmp_path, [1, 1, 1, 7, 20, len(words) - 30])
    for name in NAMES[:4]:
        assert (tmp_path / name).read_bytes() == (directory / name).read_bytes()
    bundles = [str(folder / "saved_model/variables/variables") for folder in (directory, tmp_path)]
    one, other = map(tf.train.load_checkpoint, bundles)
    assert one.get_variable_to_shape_map() == other.get_variable_to_shape_map()
    for name in one.get_variable_to_shape_map():
        np.testing.assert_array_equal(one.get_tensor(name), other.get_tensor(name), name)
    found = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["embed_words"](words=tf.constant(words))
    np.testing.assert_array_equal(found["vectors"], np.concatenate([np.zeros([2, DIM]), embeddings[2:]]))


def test_each_piece_is_dropped_before_the_next_is_taken(exported, dataset_dir, tmp_path):
    """So the caller can free its own table as soon as the last piece has been taken."""
    dropped = []

    def pieces():
        for rows in np.split(exported[2], [1, 10, 25]):
            piece = rows.copy()
            alive = weakref.ref(piece)
            yield piece
            del piece
            deadline = time.monotonic() + 5
            while alive() is not None and time.monotonic() < deadline:  # another thread drops it at about this time
                time.sleep(0.001)
            dropped.append(alive() is None)

    export.export(open_dataset(str(dataset_dir)), pieces(), DIM, str(tmp_path))
    assert dropped == [True] * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: [table[:-1]], "the pieces have {less} rows: expected {size}"),
        (lambda table: [], "the pieces have 0 rows: expected {size}"),
        (lambda table: [table, table[:1]], "the pieces have {more} rows or more: expected {size}"),
        (lambda table: [table[:0], table], "a piece is [0, 6] float32: expected [n > 0, 6] float32"),
        (lambda table: [table[:, 1:]], "a piece is [{size}, 5] float32: expected [n > 0, 6] float32"),
        (lambda table: [table[:, 0]], "a piece is [{size}] float32: expected [n > 0, 6] float32"),
        (lambda table: [table.astype(np.float64)], "a piece is [{size}, 6] float64: expected [n > 0, 6] float32"),
    ],
)
def test_pieces_that_are_no_table_of_the_vocabulary_are_refused(exported, dataset_dir, tmp_path, change, message):
    size = len(exported[2])
    with pytest.raises(ValueError) as raised:
        export.export(open_dataset(str(dataset_dir)), iter(change(exported[2])), DIM, str(tmp_path))
    assert str(raised.value) == message.format(less=size - 1, size=size, more=size + 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("vocab_size", "embedding_dim", "blocks"),
    [
        (1, 1, [slice(0, 1)]),
        (131_072, 128, [slice(0, 131_072)]),
        (131_073, 128, [slice(0, 131_072), slice(131_072, 131_073)]),
        (300_000, 128, [slice(0, 131_072), slice(131_072, 262_144), slice(262_144, 300_000)]),
        (9, 20_000_000, [slice(0, 4), slice(4, 8), slice(8, 9)]),
    ],
)
def test_row_blocks_have_64_mb_each(vocab_size, embedding_dim, blocks):
    assert list(row_blocks.row_blocks(vocab_size, embedding_dim)) == blocks
