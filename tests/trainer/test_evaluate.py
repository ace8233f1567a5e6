"""The scores equal gensim's scores, and results that are computed by hand."""

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.test.utils import datapath

from tests.conftest import run_module
from trainer import word2vec_format
from trainer.errors import UserError
from trainer.evaluate import analogies, spearman, word_pairs


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


@pytest.mark.parametrize("line", ["a\tb", "a\tb\tmuch", "a b 3"])
def test_a_broken_line_of_word_pairs_is_named(both, tmp_path, line):
    (tmp_path / "pairs.tsv").write_text(f"# title\ncat\tdog\t5\n{line}\n")
    with pytest.raises(UserError, match=r"pairs\.tsv, line 3"):
        word_pairs(both[0], str(tmp_path / "pairs.tsv"))


def test_a_broken_line_of_analogies_is_named(both, tmp_path):
    (tmp_path / "questions.txt").write_text(": capital\na b c\n")
    with pytest.raises(UserError, match=r"questions\.txt, line 2: expected four words"):
        analogies(both[0], str(tmp_path / "questions.txt"))


def test_a_set_without_known_words_has_no_score(both, tmp_path):
    (tmp_path / "pairs.tsv").write_text("qqq\tzzz\t5\n")
    score = word_pairs(both[0], str(tmp_path / "pairs.tsv"))
    assert np.isnan(score.value) and score.unknown_share == 1


def test_the_command(both, tmp_path):
    path = tmp_path / "v.bin"
    word2vec_format.write_binary(str(path), both[0].words, both[0].vectors)
    result = run_module(
        "trainer.evaluate", "--vectors", path, "--word_pairs", datapath("wordsim353.tsv"), datapath("simlex999.txt"),
        "--analogies", datapath("questions-words.txt"),
    )  # fmt: skip
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["wordsim353.tsv", "spearman"], ["simlex999.txt", "spearman"], ["questions-words.txt", "accuracy"]
    ]  # fmt: skip
    assert float(lines[0].split()[2]) == pytest.approx(word_pairs(both[0], datapath("wordsim353.tsv")).value, abs=5e-4)
