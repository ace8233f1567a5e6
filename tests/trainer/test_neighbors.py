"""The nearest neighbours of words and of sums of words."""

import doctest
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests import forked
from tests.conftest import ROOT, run_module
from trainer import neighbors as neighbors_module
from trainer import word2vec_format
from trainer.errors import UserError
from trainer.neighbors import main, neighbors, neighbors_of_each, queries

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


def test_many_queries_have_the_answers_of_each(vectors):
    asked = [[(1, word)] for word in WORDS] + queries("king - man + woman".split())
    assert list(neighbors_of_each(vectors, asked, 3)) == [neighbors(vectors, query, 3) for query in asked]
    assert list(neighbors_of_each(vectors, [], 3)) == []


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


@pytest.fixture
def path(vectors, tmp_path):
    word2vec_format.write_text(str(tmp_path / "v.txt"), vectors.words, vectors.vectors)
    return tmp_path / "v.txt"


def test_the_command(path):
    result = run_module("trainer.neighbors", "--vectors", path, "--top", "1", "king", "-", "man", "+", "woman")
    assert result.stdout.split() == ["king", "-", "man", "+", "woman", "0.960", "queen"]
    result = run_module("trainer.neighbors", "--vectors", path, "--top", "2", "king", "queen")
    assert result.stdout.split("\n")[::3] == ["king", "queen"] + [""]


def test_words_come_from_standard_input(path):
    """Also if the last line has no end."""
    args = ("trainer.neighbors", "--vectors", path, "--top", 1)
    expected = run_module(*args, "king", "queen").stdout + run_module(*args, *"king - man + woman".split()).stdout
    assert run_module(*args, input="king queen\r\n\n  king - man + woman").stdout == expected
    assert run_module(*args, input="").stdout == ""


def test_what_standard_input_asks_in_vain_is_told_and_the_rest_answered(path):
    asked = "king\nkign queen\nking - +\n\xff\nman\n"
    result = run_module("trainer.neighbors", "--vectors", path, "--top", 1, input=asked, check=False)
    assert result.returncode == 1
    assert result.stdout.split()[::3] == ["king", "queen", "man"]
    told = result.stderr.splitlines()
    assert len(told) == 3 and all(line.startswith("python -m trainer.neighbors: ") for line in told)
    assert "'kign' is not among the 5 words of the vocabulary: did you mean king?" in told[0]
    assert "'king - +' is not a sum of words" in told[1] and "'\xff' is not among" in told[2]


def test_an_answer_comes_as_soon_as_its_line_does(path):
    (read_input, write_input), (read_output, write_output) = os.pipe(), os.pipe()
    args = ("-m", "trainer.neighbors", "--vectors", path, "--top", 1)
    process = forked.server("trainer").start(*args, stdin=read_input, stdout=write_output)
    for number in (read_input, write_output):
        os.close(number)
    with open(write_input, "wb", buffering=0) as questions, open(read_output) as answers:
        for word in ("king", "queen", "man"):
            questions.write(f"{word}\n".encode())
            assert answers.readline() == f"{word}\n"
            assert answers.readline().startswith("  0.")
        questions.close()
        assert process.wait(30) == 0 and answers.read() == ""


def test_json_has_an_object_for_each_query(tmp_path, vectors):
    """In UTF-8, whatever the locale is."""
    words = ["könig", "\u2028", '"', *vectors.words[3:]]
    word2vec_format.write_binary(str(tmp_path / "v.bin"), words, vectors.vectors)
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    args = [sys.executable, "-m", "trainer.neighbors", "--vectors", tmp_path / "v.bin", "--json", "--top", "2"]
    result = subprocess.run(args, cwd=ROOT, env=env, input='könig\n" - \u2028 + könig\n'.encode(), capture_output=True)

    assert not result.returncode, result.stderr
    found = [json.loads(line) for line in result.stdout.decode().removesuffix("\n").split("\n")]
    renamed = word2vec_format.WordVectors(words, vectors.vectors)
    assert [each["query"] for each in found] == ["könig", '" - \u2028 + könig']
    for each, (query,) in zip(found, (queries(["könig"]), queries(['"', "-", "\u2028", "+", "könig"]))):
        nearest = neighbors(renamed, query, 2)
        assert each["neighbors"] == [{"word": word, "cosine": round(cosine, 6)} for word, cosine in nearest]


def test_a_model_directory_stands_for_its_vectors(model_dir, tmp_path):
    """Also if it has no file of vectors but a state."""
    by_directory, by_file = (
        run_module("trainer.neighbors", "--vectors", path, "cat").stdout
        for path in (model_dir, model_dir / "vectors.txt")
    )
    shutil.copytree(model_dir / "state", tmp_path / "state")
    assert by_directory == by_file == run_module("trainer.neighbors", "--vectors", tmp_path, "cat").stdout
    assert by_file.count("\n") == 11

    (tmp_path / "empty").mkdir()
    result = run_module("trainer.neighbors", "--vectors", tmp_path / "empty", "cat", check=False)
    assert result.returncode == 2 and "empty/vectors.bin cannot be read (No such file" in result.stderr


def test_the_command_in_a_locale_that_has_ascii_alone(tmp_path):
    """Letters that it does not have are escaped, also where Python does not use UTF-8 of its own accord."""
    path = tmp_path / "ü.txt"
    path.write_text("2 2\nthe 1 2\nkönig 2 1\n")
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = run_module("trainer.neighbors", "--vectors", path, "the", is_new=True, env=env)
    assert result.stdout == "the\n  0.800  k\\xf6nig\n"
