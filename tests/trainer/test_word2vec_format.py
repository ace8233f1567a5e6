"""word2vec's formats: this project and gensim read what either of them has written."""

import contextlib
import doctest

import numpy as np
import pytest
from gensim.models import KeyedVectors

from trainer import word2vec_format
from trainer.errors import UserError

WORDS = ["the", "naïve", "東京", "a/b", "\u00a0nbsp", "don't", "🙂", "x" * 500]


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(len(WORDS), 7)).astype(np.float32)
    values[0, :4] = [0, -0.0, 1.2e-38, 3.4e38]
    return values


@pytest.mark.parametrize(
    "extension, write", [("bin", word2vec_format.write_binary), ("txt", word2vec_format.write_text)]
)
def test_written_vectors_are_read_back_exactly_here_and_in_gensim(tmp_path, vectors, extension, write):
    path = str(tmp_path / f"v.{extension}")
    write(path, WORDS, vectors)
    read = word2vec_format.load(path)
    assert read.words == WORDS
    np.testing.assert_array_equal(read.vectors, vectors)
    gensim = KeyedVectors.load_word2vec_format(path, binary=extension == "bin")
    assert gensim.index_to_key == WORDS
    np.testing.assert_array_equal(gensim.vectors, vectors)


def test_text_has_the_form_of_word2vec_and_of_the_projector():
    vectors = np.array([[0.1, -0.0], [1e10, 1.5], [-1e-6, 1e-39]], np.float32)
    lines, rows = map(b"".join, zip(*word2vec_format.text_pieces(["a", "b", "\u00a0"], vectors)))
    assert lines == "3 2\na 0.100000001 -0\nb 1e+10 1.5\n\u00a0 -9.99999997e-07 0\n".encode()
    assert rows == b"0.100000001\t-0\n1e+10\t1.5\n-9.99999997e-07\t0\n"


@pytest.mark.parametrize("numbers_at_once", [1, 14, 1000])
def test_files_do_not_depend_on_how_many_rows_are_taken_at_once(tmp_path, monkeypatch, numbers_at_once):
    words = [f"word{row}" for row in range(101)]
    vectors = np.random.default_rng(1).normal(size=(len(words), 7)).astype(np.float32)
    content = []
    for numbers in (1 << 17, numbers_at_once):
        monkeypatch.setattr(word2vec_format, "_NUMBERS_AT_ONCE", numbers)
        word2vec_format.write_binary(str(tmp_path / "v.bin"), words, vectors)
        word2vec_format.write_text(str(tmp_path / "v.txt"), words, vectors)
        content.append([(tmp_path / name).read_bytes() for name in ("v.bin", "v.txt")])
    assert content[0] == content[1]


def test_only_a_few_pieces_of_text_are_made_ahead(monkeypatch):
    made = []
    monkeypatch.setattr(word2vec_format, "_NUMBERS_AT_ONCE", 1)
    monkeypatch.setattr(word2vec_format, "_format", lambda words, vectors: made.append(words))
    words = [f"word{row}" for row in range(1000)]
    pieces = word2vec_format.text_pieces(words, np.zeros((len(words), 1), np.float32))
    for _ in range(10):
        next(pieces)
    pieces.close()
    assert 9 <= len(made) <= 10 + 2 * word2vec_format._THREADS


@pytest.mark.parametrize("value, error", [(np.nan, True), (np.inf, False)])
def test_a_number_that_would_differ_when_read_back_is_not_written(tmp_path, vectors, value, error):
    vectors[2, 3] = value
    with pytest.raises(word2vec_format.ExportError) if error else contextlib.nullcontext():
        word2vec_format.write_text(str(tmp_path / "v.txt"), WORDS, vectors)


@pytest.mark.parametrize("binary", [True, False])
def test_files_that_gensim_wrote_are_read(tmp_path, vectors, binary):
    theirs = KeyedVectors(7)
    theirs.add_vectors(WORDS, vectors)
    path = str(tmp_path / ("v.bin" if binary else "v.txt"))
    theirs.save_word2vec_format(path, binary=binary)
    read = word2vec_format.load(path)
    assert read.words == WORDS
    np.testing.assert_array_equal(read.vectors, vectors)


@pytest.mark.parametrize("content", [b"", b"hello", b"2 3\nfoo ", b"1 2\nword", b"-1 x\n", b"2 2\na 1 2\n"])
@pytest.mark.parametrize("extension", ["bin", "txt"])
def test_a_file_of_another_kind_is_named(tmp_path, content, extension):
    path = tmp_path / f"v.{extension}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"v.{extension} is not in word2vec's"):
        word2vec_format.load(str(path))


def test_nearest_words_have_the_largest_cosines_and_are_not_excluded():
    vectors = word2vec_format.WordVectors(list("abcd"), np.array([[1, 0], [5, 5], [0, 3], [0, 0]], np.float32))
    assert [word for word, _ in vectors.nearest(np.array([2.0, 0.1]), 2)] == ["a", "b"]
    found = vectors.nearest(np.array([2.0, 0.0]), 10, exclude=[0])
    assert [word for word, _ in found] == ["b", "c", "d"]
    assert [cosine for _, cosine in found] == pytest.approx([np.sqrt(0.5), 0, 0])


def test_the_example_of_load_is_right():
    results = doctest.testmod(word2vec_format)
    assert results.attempted and not results.failed
