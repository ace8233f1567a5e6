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

from trainer import files, word2vec_format, word2vec_parser
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
    "fastText's lines.vec": text_file(*ROWS, end=b" \n"),
    "GloVe's lines, without a header.txt": text_file(*ROWS, header=None).partition(b"\n")[2],
    "GloVe's lines, of Windows.txt": text_file(*ROWS, end=b"\r\n").partition(b"\n")[2],
    "GloVe's lines, with empty ones at the end.txt": text_file(*ROWS).partition(b"\n")[2] + b"\n \n",
}
# Names that do not say which format it is.
UNNAMED = {path[:-4] + ending: content for path, content in FILES.items() for ending in ("", ".vectors")}
CONTENTS = FILES | UNNAMED


@pytest.mark.parametrize("name", CONTENTS)
def test_what_other_programs_write_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(CONTENTS[name])
    read = word2vec_format.load(str(tmp_path / name))
    assert read.words == ["the", "könig", "x"]
    np.testing.assert_array_equal(read.vectors, np.array([[1, 2.5], [-3, 4e-5], [0, 7]], np.float32))


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_gzip_may_have_compressed_it(tmp_path, name, ending):
    """Several members, one behind the other, are one file, as for other programs."""
    content = CONTENTS[name]
    half = len(content) // 2
    path = tmp_path / (name + ending)
    path.write_bytes(gzip.compress(content[:half]) + gzip.compress(content[half:]))
    read = word2vec_format.load(str(path))
    with files.mapped(str(path), "vectors") as data:
        ((words, vectors),) = word2vec_parser.parse_blocks(str(path), data)
    assert read.words == words == ["the", "könig", "x"]
    np.testing.assert_array_equal(read.vectors, vectors)
    np.testing.assert_array_equal(vectors, np.array([[1, 2.5], [-3, 4e-5], [0, 7]], np.float32))


def test_glove_files_are_read_as_gensim_reads_them(tmp_path, vectors):
    words = ["of", "1", "the", "naïve", "東京", "\u00a0nbsp", "don't", "🙂"]
    path = tmp_path / "glove.txt"
    path.write_text("".join(f"{word} {' '.join(map(repr, row.tolist()))}\n" for word, row in zip(words, vectors)))
    theirs = KeyedVectors.load_word2vec_format(str(path), no_header=True)
    ours = word2vec_format.load(str(path))
    assert ours.words == theirs.index_to_key == words
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)


def both(content, message_of_binary, message_of_text):
    """Two rows of the table below, of a file that is damaged in the same way in either format."""
    return [(f"v.{kind}", content, message) for kind, message in (("bin", message_of_binary), ("txt", message_of_text))]


LARGE = [(b"w%d" % row, *range(8)) for row in range(499)]
DAMAGED = [
    *(
        row
        for content in (b"", b"hello", b"the 0.1\n", b"the 0.1 x\n", b"-1 2\n", b"0 5\n", b"5 0\n", b"1_0 2\n",
                        b"9" * 5000 + b" 1\n", b"2 2", b"the 0.1 0.2")
        for row in both(content, *["the first line is '.*': expected two whole numbers"] * 2)
    ),
    ("v.bin", b"the 0.1 0.2\n", "the first line is 'the 0.1 0.2': expected two whole numbers .* each has$"),
    ("v", b"\x80\0", "word2vec's binary format, as its contents look: the first line is"),
    ("v.vec", b"the 1", "text format, as a name in .vec says: .* numbers each has; or a word and its numbers, as in"),
    ("v.txt", b"the 1 2\nxyzzy 1\n", "GloVe's format, as a name in .txt says: in line 2, 1 numbers follow 'xyzzy': "),
    ("v", b"the 1 2\nxyzzy 1\n", "GloVe's format, as its contents look: in line 2, 1 numbers follow 'xyzzy': "),
    ("v.txt", b"the 1 2\nthe 3 4\n", "in line 2, the word 'the' is that of an earlier row"),
    ("v.txt", b"the 1 2\nxyzzy 1 nan\n", "in line 2, the vector of 'xyzzy' holds nan"),
    ("v.txt", b"the 1 2\nxyzzy 1 2", "in line 2, the file ends without a newline: expected 2 words with 2 "),
    ("v.txt", b"the 1 2\n\nxyzzy 1 2\n", "in line 2, 0 numbers follow ''"),
    ("v.txt", b"a 1 2 3 4 5 6 7 8\nb 1\nc 1\n", "3 lines in 26 bytes, of which the first has 8 numbers: expected at "),
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
    ("v.bin", text_file(*LARGE), "binary format, as a name in .bin says: .* bytes follow"),
    ("v.txt", binary_file(*LARGE), "word2vec's text format, as a name in .txt says: in line 2, "),
    ("v.txt", gzip.compress(text_file(*ROWS), mtime=0)[:-3], "v.txt cannot be read .Compressed file ended before the "),
    ("v.txt", b"\x1f\x8b" + text_file(*ROWS), "v.txt cannot be read .Unknown compression method"),
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
    expected = "expected word vectors in word2vec's or GloVe's format"
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
    if len(header.split()) > 2 and path.suffix != ".bin":  # GloVe's format has none
        body = content
    else:
        assert [int(number) for number in header.split()] == list(read.vectors.shape)
    if path.suffix == ".bin":
        again = [binary_file(*rows, newline=newline).partition(b"\n")[2] for newline in (b"\n", b"")]
        assert body in (*again, again[0][:-1])
    else:
        found = [line.split() for line in body.rstrip().split(b"\n")]
        assert rows == [(word, *np.array(list(map(float, numbers)), np.float32).tolist()) for word, *numbers in found]
    return rows


@pytest.mark.parametrize("name", [name for name in FILES if "GloVe" not in name])
def test_every_truncation_is_told(tmp_path, name):
    path, good = tmp_path / name, FILES[name]
    rows = loaded(path, good)
    assert rows is not None
    read = [loaded(path, good[:length]) for length in range(len(good))]
    assert all(each in (None, rows) for each in read)
    assert set(map(type, read[: len(good.rstrip()) - 1])) == {type(None)}


def test_every_truncation_within_a_line_is_told(tmp_path):
    """Without a header, a file says nothing of lines that are gone."""
    good = FILES["GloVe's lines, without a header.txt"]
    read = [loaded(tmp_path / "v.txt", good[:length]) for length in range(len(good) + 1)]
    assert [length for length, rows in enumerate(read) if rows] == [
        place + 1 for place in range(len(good)) if good[place] == 10
    ]


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


@pytest.mark.parametrize("dim", [1, 5, 130])
def test_nearest_words_are_those_of_a_full_sort_for_every_number_of_them(dim):
    """Also if many words are equally near: then those of lower rows come first, wherever the rows stand."""
    rng = np.random.default_rng(dim)
    values = rng.normal(size=(25, dim)).astype(np.float32)[rng.integers(25, size=1000)]  # each about 40 times
    values *= 2.0 ** rng.integers(-3, 3, size=(1000, 1))  # exact, so their directions stay the same
    vectors = word2vec_format.WordVectors([f"w{row}" for row in range(1000)], values)
    queries = np.concatenate([values[:20], rng.normal(size=(20, dim)), np.zeros([1, dim])]).astype(np.float32)
    exclude = [list(rng.integers(1000, size=number % 4)) for number in range(len(queries))]
    unit_queries = word2vec_format.WordVectors([], queries).unit_vectors.astype(np.float64)
    unit_rows = vectors.unit_vectors.astype(np.float64)
    for query, unit, without in zip(queries, unit_queries, exclude):
        cosines = unit_rows @ unit
        order = [row for row in np.lexsort((np.arange(1000), -cosines.round(12))) if row not in without]
        for k in (1, 2, 10, 41, 999, 1000, 5000):
            found = vectors.nearest(query, k, without)
            assert [word for word, _ in found] == [f"w{row}" for row in order[:k]]
            assert [cosine for _, cosine in found] == pytest.approx(cosines[order[:k]], abs=1e-9)


@pytest.mark.parametrize("products_at_once", [1, 2500, 1 << 24])
def test_many_queries_have_exactly_the_answers_of_each(products_at_once, monkeypatch):
    monkeypatch.setattr(word2vec_format, "_PRODUCTS_AT_ONCE", products_at_once)
    monkeypatch.setattr(word2vec_format, "_ROWS_AT_ONCE", 3)
    values = np.random.default_rng(0).normal(size=(1000, 33)).astype(np.float32)
    vectors = word2vec_format.WordVectors([f"w{row}" for row in range(1000)], values)
    each = [vectors.nearest(values[row], 7, [row]) for row in range(50)]
    assert list(vectors.nearest_of_each(values[:50], 7, [[row] for row in range(50)])) == each
    assert list(vectors.nearest_of_each(values[:0], 7, [])) == []


def test_the_example_of_load_is_right():
    results = doctest.testmod(word2vec_format)
    assert results.attempted and not results.failed
