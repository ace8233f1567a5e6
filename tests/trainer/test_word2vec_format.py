"""word2vec's formats: this project and gensim read what either of them has written."""

import contextlib
import doctest
import gzip
import re

import numpy as np
import pytest
from gensim.models import KeyedVectors
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import word2vec_format
from trainer.errors import UserError

deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=300)
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


def binary_file(*rows, newline=b"\n", header=None):
    """The contents of a file in the binary format."""
    body = b"".join(word + b" " + np.array(numbers, "<f4").tobytes() + newline for word, *numbers in rows)
    return (header or b"%d %d\n" % (len(rows), len(rows[0]) - 1)) + body


def text_file(*rows, space=b" ", end=b"\n", header=None):
    """The contents of a file in the text format."""
    lines = [header.rstrip() if header else b"%d %d" % (len(rows), len(rows[0]) - 1)]
    lines += [space.join([word, *(str(number).encode() for number in numbers)]) for word, *numbers in rows]
    return b"".join(line + end for line in lines)


ROWS = [(b"the", 1, 2.5), (b"k\xc3\xb6nig", -3, 4e-5), (b"x", 0, 7)]
FILES = {
    "rows that end with a newline.bin": binary_file(*ROWS),
    "rows without a newline.bin": binary_file(*ROWS, newline=b""),
    "no newline at the end.bin": binary_file(*ROWS)[:-1],
    "lines.txt": text_file(*ROWS),
    "lines of Windows.txt": text_file(*ROWS, end=b"\r\n"),
    "a space at the end of lines, as word2vec.c has it.txt": text_file(*ROWS, end=b" \n"),
    "empty lines at the end.txt": text_file(*ROWS) + b"\n\n",
}


@pytest.mark.parametrize("name", FILES)
def test_what_other_programs_write_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name])
    read = word2vec_format.load(str(tmp_path / name))
    assert read.words == ["the", "könig", "x"]
    np.testing.assert_array_equal(read.vectors, np.array([[1, 2.5], [-3, 4e-5], [0, 7]], np.float32))


def both(content, message_of_binary, message_of_text):
    """Two rows of the table below, of a file that is damaged in the same way in either format."""
    return [(f"v.{kind}", content, message) for kind, message in (("bin", message_of_binary), ("txt", message_of_text))]


LARGE = [(b"w%d" % row, *range(8)) for row in range(499)]
DAMAGED = [
    *(
        row
        for content in (b"", b"hello", b"the 0.1 0.2\n", b"-1 2\n", b"0 5\n", b"5 0\n", b"1 2 3\n", b"1_0 2\n",
                        b"9" * 5000 + b" 1\n", b"2 2")
        for row in both(content, *["the first line is '.*': expected two whole numbers"] * 2)
    ),
    *both(b"2 2\n", "0 bytes follow the first line: expected at least 19", "0 bytes follow .*: expected at least 11"),
    *both(b"999999999999999999 999999999999999999\nx", "expected at least 3,9.* bytes for 999,", "at least 1,9"),
    ("v.txt", b"2 2\nthe 1\nxyzzy 1 2\n", "in line 2, 1 numbers follow 'the': expected 2 numbers"),
    ("v.txt", b"2 2\nthe 1 2\nxyzzy 1 2 3\n", "in line 3, 3 numbers follow 'xyzzy': expected 2 numbers"),
    ("v.txt", b"1 2\nthe\t1.5\t2.5\n", r"in line 2, 0 numbers follow 'the\\t1.5.*': expected 2 numbers"),
    ("v.txt", b"1 2\nnew york 1 2\n", "in line 2, 3 numbers follow 'new': expected 2 numbers"),
    ("v.txt", b"1 2\nthe 1 2,5\n", "in line 2, '1 2,5' follows 'the': expected numbers with spaces between"),
    ("v.txt", b"1 2\nthe 1_0 2\n", "in line 2, '1_0 2' follows 'the': expected numbers"),
    ("v.txt", text_file(*LARGE)[:-3], "in line 500, 7 numbers follow|in line 500, the file ends without a newline"),
    ("v.txt", text_file(*LARGE, header=b"510 8\n"), "in line 501, the file ends: expected 510 words with 8 "),
    ("v.bin", binary_file(*LARGE, header=b"510 8\n"), "in row 500, the file ends: expected 510 words with 8 "),
    ("v.bin", binary_file(*LARGE, header=b"1000 8\n"), "bytes follow the first line: expected at least 33,999 bytes"),
    ("v.bin", binary_file(*LARGE)[:-2], "in row 499, the file ends: expected 499 words"),
    ("v.bin", binary_file(*LARGE, header=b"498 8\n"), "in row 499, the file goes on: expected 498 words"),
    ("v.txt", text_file(*LARGE, header=b"498 8\n"), "in line 500, the file goes on: expected 498 words"),
    ("v.bin", binary_file(*ROWS) + b"\n", "in row 4, the file goes on: expected 3 words"),
    ("v.bin", binary_file(*ROWS, newline=b"").replace(b" @k", b" @\nk"), "1 of the rows end with a newline"),
    *(
        (f"v.{kind}", make((b"the", 1, 2), (word, 3, 4)), f"in {row}, {message}")
        for kind, make, row in (("bin", binary_file, "row 2"), ("txt", text_file, "line 3"))
        for word, message in (
            (b"", "the word is b'': expected one in UTF-8, not empty, without white space"),
            (b"k\xf6nig", r"the word is b'k\\xf6nig': expected one in UTF-8"),
            (b"a\tb", r"the word is b'a\\tb': expected one in UTF-8, not empty, without white space"),
            (b"the", "the word 'the' is that of an earlier row: expected each word once"),
        )
    ),
    *(
        (f"v.{kind}", make((b"the", 1, 2), (b"of", 3, number)), f"in {row}, the vector of 'of' holds {number}: ")
        for kind, make, row in (("bin", binary_file, "row 2"), ("txt", text_file, "line 3"))
        for number in (np.nan, np.inf, -np.inf)
    ),
    ("v.txt", b"1 2\nthe 1 1e39\n", "in line 2, the vector of 'the' holds inf: expected finite numbers"),
    ("v.bin", text_file(*LARGE), "binary format, as a name that does not end in .txt says: .* bytes follow"),
    ("v.txt", binary_file(*LARGE), "word2vec's text format, as a name in .txt says: in line 2, "),
    ("v.txt", gzip.compress(text_file(*ROWS), mtime=0), "v.txt is compressed by gzip: .*, so decompress it first"),
]  # fmt: skip


def refusal(path):
    """What is said of a file that is not loaded: one line, which names it."""
    with pytest.raises(UserError) as raised:
        word2vec_format.load(str(path))
    message = str(raised.value)
    assert "\n" not in message and len(message) < 600 and str(path) in message
    return message


@pytest.mark.parametrize("name, content, message", DAMAGED)
def test_damage_is_told_with_its_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert re.search(message, refusal(tmp_path / name))


def test_a_file_that_cannot_be_read_is_told_with_the_reason(tmp_path):
    expected = "expected word vectors in word2vec's .bin or .txt format"
    assert f"v.bin cannot be read (No such file or directory): {expected}" in refusal(tmp_path / "v.bin")
    assert f"cannot be read (Is a directory): {expected}" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["ü", "語", "a b", "it's", '"', "[v2]", "*", "new\nline", "\udcff"])
@pytest.mark.parametrize("extension", ["bin", "txt"])
def test_a_path_may_have_any_characters(tmp_path, name, extension):
    folder = tmp_path / name
    folder.mkdir()
    path = folder / f"{name}.{extension}"
    path.write_bytes({"bin": binary_file, "txt": text_file}[extension](*ROWS))
    assert len(word2vec_format.load(str(path)).words) == 3
    path.write_bytes(b"2 2\n")
    with pytest.raises(UserError, match="0 bytes follow"):
        word2vec_format.load(str(path))


def loaded(path, content):
    """The words and numbers of a file, as a reader that knows nothing of damage finds them; None if it is refused."""
    path.write_bytes(content)
    try:
        read = word2vec_format.load(str(path))
    except UserError as error:
        assert "\n" not in str(error)
        return None
    assert len(set(read.words)) == len(read.words) == len(read.vectors) > 0
    assert np.isfinite(read.vectors).all()
    rows = [(word.encode(), *numbers) for word, numbers in zip(read.words, read.vectors.tolist())]
    header, _, body = content.partition(b"\n")
    assert [int(number) for number in header.split()] == list(read.vectors.shape)
    if path.suffix == ".bin":
        again = [binary_file(*rows, newline=newline).partition(b"\n")[2] for newline in (b"\n", b"")]
        assert body in (*again, again[0][:-1])
    else:
        found = [line.split() for line in body.rstrip().split(b"\n")]
        assert rows == [(word, *np.array(list(map(float, numbers)), np.float32).tolist()) for word, *numbers in found]
    return rows


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_told(tmp_path, name):
    path, good = tmp_path / name, FILES[name]
    rows = loaded(path, good)
    assert rows is not None
    read = [loaded(path, good[:length]) for length in range(len(good))]
    assert all(each in (None, rows) for each in read)
    assert set(map(type, read[: len(good.rstrip()) - 1])) == {type(None)}


@pytest.mark.parametrize(
    "name", ["rows that end with a newline.bin", "rows without a newline.bin", "lines of Windows.txt"]
)
def test_every_flipped_bit_is_told_or_harmless(tmp_path, name):
    """What is read is in the file: a letter of a word or a digit of a number that has changed cannot be noticed."""
    path, good = tmp_path / name, FILES[name]
    flipped = [
        loaded(path, bytes([*good[:place], good[place] ^ 1 << bit, *good[place + 1 :]]))
        for place in range(len(good))
        for bit in range(8)
    ]
    assert None in flipped and {len(each) for each in flipped if each} == {len(ROWS)}


@deterministic
@given(
    extension=st.sampled_from(["bin", "txt"]),
    header=st.sampled_from([b"", b"1 1\n", b"2 1\n", b"1 2\n", b"3 2\r\n"]),
    body=st.one_of(
        st.binary(max_size=40),
        st.lists(st.sampled_from([b" ", b"\n", b"a", b"b", b"1", b"-2.5", b"nan", b"\0\0\0\0", b"\xff"])).map(b"".join),
    ),
)
def test_any_bytes_are_read_or_refused(tmp_path_factory, extension, header, body):
    loaded(tmp_path_factory.getbasetemp() / f"any bytes.{extension}", header + body)


def test_lengths_beyond_float32_are_no_harm():
    vectors = word2vec_format.WordVectors(list("abc"), np.array([[3e38, 4e-9], [3e-30, 4e-30], [0, 0]], np.float32))
    np.testing.assert_allclose(vectors.unit_vectors, [[1, 0], [0.6, 0.8], [0, 0]], atol=1e-6)


def test_nearest_words_have_the_largest_cosines_and_are_not_excluded():
    vectors = word2vec_format.WordVectors(list("abcd"), np.array([[1, 0], [5, 5], [0, 3], [0, 0]], np.float32))
    assert [word for word, _ in vectors.nearest(np.array([2.0, 0.1]), 2)] == ["a", "b"]
    found = vectors.nearest(np.array([2.0, 0.0]), 10, exclude=[0])
    assert [word for word, _ in found] == ["b", "c", "d"]
    assert [cosine for _, cosine in found] == pytest.approx([np.sqrt(0.5), 0, 0])


def test_the_example_of_load_is_right():
    results = doctest.testmod(word2vec_format)
    assert results.attempted and not results.failed
