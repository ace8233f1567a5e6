"""The folder for Vertex AI Vector Search is as Google's rules say, and has the vectors of vectors.bin."""

import json
import re

import numpy as np
import pytest

from tests.contract.make import FOLDER
from trainer import export, vector_search, word2vec_format
from trainer.dataset import open_dataset

DIM = 5
NAMES = ["vectors.bin", "vocabulary.txt", "vector_search"]


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(str(FOLDER / "blocks"))


@pytest.fixture(scope="module")
def embeddings(dataset):
    """Numbers of all sizes, as large and small ones have exponents."""
    rng = np.random.default_rng(1)
    shape = [dataset.vocab_size, DIM]
    return (rng.normal(size=shape) * 10.0 ** rng.integers(-30, 30, shape)).astype(np.float32)


def exported(directory, dataset, embeddings, sizes=()):
    pieces = iter(np.split(embeddings, np.cumsum(sizes)))
    assert export.export(dataset, pieces, DIM, str(directory), names=NAMES) == NAMES
    return directory / "vector_search"


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def records(folder):
    """All records, in the order of the files. Nothing is in the folder but files with JSON lines."""
    found = []
    paths = sorted(folder.iterdir())
    assert len(paths) <= 5000
    for path in paths:
        assert path.is_file() and re.fullmatch(r"[a-z0-9-]+\.json", path.name)
        content = path.read_bytes()
        assert content.endswith(b"}\n") and content.decode("utf-8")
        found.append([json.loads(line, parse_constant=refuse) for line in content[:-1].split(b"\n")])
    return found


@pytest.mark.parametrize("rows_per_file", [1, 7, 10_000])
@pytest.mark.parametrize("sizes", [(), (1, 1, 1, 8, 3)])
def test_the_records_are_the_words_with_their_vectors_and_counts(
    dataset, embeddings, tmp_path, monkeypatch, rows_per_file, sizes
):
    monkeypatch.setattr(vector_search, "_NUMBERS_PER_FILE", rows_per_file * DIM)
    files = records(exported(tmp_path, dataset, embeddings, sizes))
    vectors = word2vec_format.load(str(tmp_path / "vectors.bin"))
    counts = dict(line.rsplit(" ", 1) for line in (tmp_path / "vocabulary.txt").read_text().splitlines())

    assert [len(file) for file in files[:-1]] == [rows_per_file] * (len(files) - 1)
    assert 0 < len(files[-1]) <= rows_per_file
    found = [record for file in files for record in file]
    assert all(list(record) == ["id", "embedding", "numeric_restricts"] for record in found)
    assert [record["id"] for record in found] == vectors.words and len(set(vectors.words)) == len(found)
    np.testing.assert_array_equal(np.array([record["embedding"] for record in found], np.float32), vectors.vectors)
    for record in found:
        (restrict,) = record["numeric_restricts"]
        assert restrict == {"namespace": "count", "value_int": int(counts[record["id"]])}


def test_there_are_never_too_many_files(dataset, embeddings, tmp_path, monkeypatch):
    monkeypatch.setattr(vector_search, "_NUMBERS_PER_FILE", 1)
    monkeypatch.setattr(vector_search, "_MAX_FILES", 3)
    assert len(records(exported(tmp_path, dataset, embeddings))) == 3


def test_the_words_of_items_are_escaped():
    odd = ['say "hi"', "back\\slash", "é\u2028\u0085", "😀", "\0", "<a/b>"]
    lines = b"".join(vector_search._lines(odd, np.ones([6, 2], np.float32), np.arange(6)))
    assert [json.loads(line)["id"] for line in lines.decode().splitlines()] == odd


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
def test_what_json_cannot_hold_is_not_written(dataset, embeddings, tmp_path, number):
    broken = embeddings.copy()
    broken[-1, -1] = number
    with pytest.raises(export.ExportError, match="a vector holds"):
        exported(tmp_path, dataset, broken)
    assert not list(tmp_path.iterdir())
