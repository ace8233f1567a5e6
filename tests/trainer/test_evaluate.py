"""The scores equal gensim's scores, and results that are computed by hand."""

import gzip

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.test.utils import datapath
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import run_module
from trainer import word2vec_format
from trainer.errors import UserError
from trainer.evaluate import main
from trainer.word_tasks import analogies, spearman, word_pairs


def test_spearman_by_hand():
    assert spearman([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # The ranks are 1, 2.5, 2.5, 4 and 1, 2, 3, 4.
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert np.isnan(spearman([1, 1], [1, 2])) and np.isnan(spearman([], []))


@pytest.fixture(scope="module")
def both():
    """Random vectors of most words of the test sets, in upper and lower case. The same vectors, in gensim's class."""
    rng = np.random.default_rng(0)
    words = set()
    for name, columns in (("wordsim353.tsv", 2), ("simlex999.txt", 2), ("questions-words.txt", 4)):
        with open(datapath(name)) as file:
            words.update(word for line in file if line[0] not in "#:" for word in line.split()[:columns])
    words = [word for word in sorted(words) if rng.random() < 0.7]
    rng.shuffle(words)
    common = rng.normal(size=(1, 12))
    vectors = (common + rng.normal(size=(len(words), 12))).astype(np.float32)
    theirs = KeyedVectors(12)
    theirs.add_vectors(words, vectors)
    return word2vec_format.WordVectors(words, vectors), theirs


@pytest.mark.parametrize("name", ["wordsim353.tsv", "simlex999.txt"])
def test_word_pairs_are_scored_as_by_gensim(both, name):
    ours, theirs = both
    _, expected, unknown_percent = theirs.evaluate_word_pairs(datapath(name))
    score = word_pairs(ours, datapath(name))
    assert score.value == pytest.approx(expected[0], abs=1e-9)
    assert 100 * score.unknown_share == pytest.approx(unknown_percent)
    assert 0 < score.unknown_share < 1


@pytest.mark.parametrize("restrict_vocab", [300, 30_000])
def test_analogies_are_scored_as_by_gensim(both, restrict_vocab):
    ours, theirs = both
    expected, sections = theirs.evaluate_word_analogies(datapath("questions-words.txt"), restrict_vocab)
    score = analogies(ours, datapath("questions-words.txt"), restrict_vocab)
    assert score.value == pytest.approx(expected)
    assert score.num_scored == len(sections[-1]["correct"]) + len(sections[-1]["incorrect"])


@pytest.mark.parametrize("word, a, b, c", [
    ("a", [1, 0, 0], [0.94, 0.34, 0], [0.94, -0.34, 0]),
    ("b", [0.8, 0.6, 0], [1, 0, 0], [0.8, 0.6, 0]),
    ("c", [0.8, 0.6, 0], [0.8, 0.6, 0], [1, 0, 0]),
])  # fmt: skip
def test_a_word_of_the_question_is_not_its_answer(tmp_path, word, a, b, c):
    """The nearest of all words to b - a + c is `word`; of those that may be answers, it is d."""
    vectors = word2vec_format.WordVectors(list("abcde"), np.array([a, b, c, [0.7, 0, 0.7], [0, 0, 1]], np.float32))
    found = vectors.nearest(np.array(b, np.float32) - a + np.array(c), 5)
    assert found[0][0] == word and [other for other, _ in found if other in "de"] == ["d", "e"]
    (tmp_path / "questions.txt").write_text("a b c d\na b c e\n")
    assert analogies(vectors, str(tmp_path / "questions.txt")).value == 0.5


PAIRS_LINE, ANALOGY_LINE = "expected word<TAB>word<TAB>rating, found ", "expected four words, found "
WRONG = [
    *((word_pairs, f"# title\ncat\tdog\t5\n{line}\n".encode(), f"line 3: {PAIRS_LINE}")
      for line in ("a\tb", "a\tb\tmuch", "a b 3", "a\tb\tnan", "a\tb\tinf", "\tb\t1", "a\tb\t1\t2", "x" * 10_000)),
    (analogies, b": capital\na b c\n", f"line 2: {ANALOGY_LINE}'a b c'"),
    (analogies, b"a b c d e\n", f"line 1: {ANALOGY_LINE}'a b c d e'"),
    (word_pairs, b"", "holds no word pairs: expected lines of the form word<TAB>word<TAB>rating"),
    (word_pairs, b"# title\n\n", "holds no word pairs: expected lines"),
    (analogies, b"", "holds no analogies: expected lines of four words"),
    (analogies, b"\n: capital\n", "holds no analogies: expected lines of four words"),
    *((score, b"\xff\xfea\0\n\0", "line 1: expected a test set in UTF-8, found the bytes b'")
      for score in (word_pairs, analogies)),
    (word_pairs, b"cat\tdog\t5\nk\xf6nig\ta\t1\n", r"line 2: expected a test set in UTF-8, found the bytes b'\\xf6'"),
    (analogies, gzip.compress(b"a b c d", mtime=0)[:-3], r"cannot be read \(Compressed file ended before"),
]  # fmt: skip


@pytest.mark.parametrize("score, content, message", WRONG)
def test_what_is_wrong_with_a_test_set_is_told_with_its_line(both, tmp_path, score, content, message):
    (tmp_path / "set.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"set\.txt(, | ){message}") as raised:
        score(both[0], str(tmp_path / "set.txt"))
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500


@pytest.mark.parametrize("score", [word_pairs, analogies])
def test_a_test_set_that_cannot_be_read_is_told_with_the_reason(both, tmp_path, score):
    for path, reason in ((tmp_path / "nowhere", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=rf"{path} cannot be read \({reason}\): expected a test set in UTF-8"):
            score(both[0], str(path))


@settings(derandomize=True, deadline=None, database=None, max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.lists(st.sampled_from([b"\t", b" ", b"\n", b"\r\n", b"#", b":", b"cat", b"dog", b"3", b"nan", b"\xff"]))
        .map(b"".join),
    )
)  # fmt: skip
def test_any_bytes_are_scored_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any bytes"
    path.write_bytes(content)
    vectors = word2vec_format.WordVectors(["cat", "dog", "3"], np.eye(3, dtype=np.float32))
    for score in (word_pairs, analogies):
        try:
            result = score(vectors, str(path))
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert result.num_scored + result.num_unknown > 0


def test_lines_of_windows_and_a_byte_order_mark_are_no_harm(both, tmp_path):
    ours, _ = both
    content = open(datapath("wordsim353.tsv")).read().replace("\n", "\r\n").encode("utf-8-sig")
    (tmp_path / "pairs.tsv").write_bytes(content.partition(b"\r\n")[2])
    expected = word_pairs(ours, datapath("wordsim353.tsv"))
    assert word_pairs(ours, str(tmp_path / "pairs.tsv")).value == expected.value


def test_a_set_without_known_words_has_no_score(both, tmp_path):
    (tmp_path / "pairs.tsv").write_text("qqq\tzzz\t5\n")
    score = word_pairs(both[0], str(tmp_path / "pairs.tsv"))
    assert np.isnan(score.value) and score.unknown_share == 1


@pytest.fixture(scope="module")
def vectors_file(both, tmp_path_factory):
    path = tmp_path_factory.mktemp("vectors") / "v.bin"
    word2vec_format.write_binary(str(path), both[0].words, both[0].vectors)
    return path


def evaluate(capsys, vectors, *args):
    """Runs the command in this process; returns the lines of its output, and of its error if there is one."""
    try:
        main(["--vectors", str(vectors), *map(str, args)])
        error = ""
    except UserError as raised:
        error = str(raised)
    return capsys.readouterr().out.splitlines(), error.splitlines()


def test_a_repeated_flag_adds_test_sets(vectors_file, capsys):
    pairs = [datapath(name) for name in ("wordsim353.tsv", "simlex999.txt")]
    questions = datapath("questions-words.txt")
    flags = ["--word_pairs", pairs[0], "--analogies", questions, "--word_pairs", *pairs, "--analogies", questions]
    for _ in range(2):  # nothing is left over from the call before
        lines, errors = evaluate(capsys, vectors_file, *flags)
        names = [line.split()[0] for line in lines]
        assert names == ["wordsim353.tsv"] * 2 + ["simlex999.txt"] + ["questions-words.txt"] * 2
        assert errors == []


def test_a_set_that_cannot_be_scored_is_told_after_the_other_scores(vectors_file, tmp_path, capsys):
    (tmp_path / "unknown.tsv").write_text("qqq\tzzz\t5\nzzz\tqqq\t5\n")
    (tmp_path / "one.tsv").write_text("the\tthe\t5\n" * 3)
    (tmp_path / "unknown.txt").write_text("a qqq b zzz\n")
    vectors = tmp_path / "v.txt"
    vectors.write_text("3 2\nthe 1 2\na 2 1\nb 3 3\n")

    lines, (error,) = evaluate(
        capsys, vectors_file, "--word_pairs", tmp_path / "unknown.tsv", datapath("simlex999.txt")
    )
    assert [line.split()[0] for line in lines] == ["simlex999.txt"]
    assert (
        f"{tmp_path}/unknown.tsv has no score, since each of its 2 lines has a word out of the vocabulary: expected"
        in error
    )

    lines, (error,) = evaluate(
        capsys, vectors, "--word_pairs", tmp_path / "one.tsv", "--analogies", tmp_path / "unknown.txt",
        "--restrict_vocab", "2",
    )  # fmt: skip
    assert lines == []
    assert (
        "one.tsv has no score, since its 3 scored pairs have ratings or cosines that are all equal: expected" in error
    )
    assert "unknown.txt has no score, since each of its 1 lines has a word out of the vocabulary" in error
    assert error.endswith("expected lines of words that are among the 2 that are used")


@pytest.mark.parametrize("name", ["ü", "語", "a b", "it's", '"', "[v2]", "*", "new\nline", "\udcff"])
def test_a_path_may_have_any_characters(tmp_path, capsys, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / f"{name}.txt").write_text("3 2\na 1 2\nb 2 1\nc 3 3\n")
    (folder / f"pairs {name}").write_text("a\tb\t1\na\tc\t2\n")
    (folder / f"questions {name}").write_text("a b c a\n")
    sets = ["--word_pairs", folder / f"pairs {name}", "--analogies", folder / f"questions {name}"]
    lines, errors = evaluate(capsys, folder / f"{name}.txt", *sets)
    assert errors == []
    assert len(lines) == 2 and all(line.isascii() or name.isprintable() for line in lines)


def test_the_command(both, vectors_file):
    result = run_module(
        "trainer.evaluate", "--vectors", vectors_file,
        "--word_pairs", datapath("wordsim353.tsv"), datapath("simlex999.txt"),
        "--analogies", datapath("questions-words.txt"),
    )  # fmt: skip
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["wordsim353.tsv", "spearman"], ["simlex999.txt", "spearman"], ["questions-words.txt", "accuracy"]
    ]  # fmt: skip
    assert float(lines[0].split()[2]) == pytest.approx(word_pairs(both[0], datapath("wordsim353.tsv")).value, abs=5e-4)
