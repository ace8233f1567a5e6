"""The nearest neighbours of words and of sums of words."""

import doctest
import os

import numpy as np
import pytest

from tests.conftest import run_module
from trainer import neighbors as neighbors_module
from trainer import word2vec_format
from trainer.errors import UserError
from trainer.neighbors import main, neighbors, queries

# The two dimensions stand for royalty and sex.
WORDS = {"king": [1, 1], "queen": [1, -1], "man": [0, 1], "woman": [0, -1], "royal": [1, 0.1]}


@pytest.fixture
def vectors():
    return word2vec_format.WordVectors(list(WORDS), np.array(list(WORDS.values()), np.float32))


@pytest.mark.parametrize("terms, expected", [
    (["king"], [[(1, "king")]]),
    (["king", "queen"], [[(1, "king")], [(1, "queen")]]),
    (["king", "-", "man", "+", "woman"], [[(1, "king"), (-1, "man"), (1, "woman")]]),
])  # fmt: skip
def test_words_are_turned_into_queries(terms, expected):
    assert queries(terms) == expected


def test_the_examples_of_queries_are_right():
    results = doctest.testmod(neighbors_module)
    assert results.attempted and not results.failed


@pytest.mark.parametrize("text", ["- king", "king -", "king + + man", "king man + woman", "+"])
def test_a_broken_sum_is_refused(text):
    with pytest.raises(UserError, match="is not a sum of words: expected words with"):
        queries(text.split())


def test_king_minus_man_plus_woman(vectors):
    (query,) = queries("king - man + woman".split())
    found = neighbors(vectors, query, 5)
    assert found[0][0] == "queen"
    assert {word for word, _ in found} == {"queen", "royal"}


def test_a_word_is_not_its_own_neighbour(vectors):
    assert neighbors(vectors, [(1, "man")], 1)[0][0] == "king"


def test_an_unknown_word_is_named_with_a_suggestion(vectors):
    with pytest.raises(UserError, match="'Quen' is not among the 5 words.*did you mean queen"):
        neighbors(vectors, [(1, "Quen")], 1)


@pytest.mark.parametrize("name", ["ü", "語", "a b", "it's", '"', "[v2]", "*", "new\nline", "\udcff"])
def test_a_path_may_have_any_characters(tmp_path, capsys, name):
    path = tmp_path / name / f"{name}.txt"
    path.parent.mkdir()
    path.write_text("2 2\na 1 2\nb 2 1\n")
    main(["--vectors", str(path), "a"])
    assert capsys.readouterr().out == "a\n  0.800  b\n"

    path.write_text("2 2\na 1\nbc 2 1\n")
    with pytest.raises(UserError, match="in line 2, 1 numbers follow 'a': expected 2 numbers") as raised:
        main(["--vectors", str(path), "a"])
    assert "\n" not in str(raised.value) and capsys.readouterr().out == ""


def test_the_command(vectors, tmp_path):
    path = tmp_path / "v.txt"
    word2vec_format.write_text(str(path), vectors.words, vectors.vectors)
    result = run_module("trainer.neighbors", "--vectors", path, "--top", "1", "king", "-", "man", "+", "woman")
    assert result.stdout.split() == ["king", "-", "man", "+", "woman", "0.960", "queen"]
    result = run_module("trainer.neighbors", "--vectors", path, "--top", "2", "king", "queen")
    assert result.stdout.split("\n")[::3] == ["king", "queen"] + [""]


def test_the_command_in_a_locale_that_has_ascii_alone(tmp_path):
    """Letters that it does not have are escaped, also where Python does not use UTF-8 of its own accord."""
    path = tmp_path / "ü.txt"
    path.write_text("2 2\nthe 1 2\nkönig 2 1\n")
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = run_module("trainer.neighbors", "--vectors", path, "the", is_new=True, env=env)
    assert result.stdout == "the\n  0.800  k\\xf6nig\n"
