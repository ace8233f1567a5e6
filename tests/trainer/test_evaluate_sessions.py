"""`trainer.evaluate` on sessions: models of gensim on a catalogue whose best answers are known."""

import json
import os
import zlib

import numpy as np
import pytest
from gensim.models import Word2Vec

from tests.benchmarks.sessions import best_metrics
from tests.catalogue import Catalogue, write
from tests.conftest import run_module
from tests.contract.make import FOLDER
from tests.trainer.holdout import hold_out
from trainer import word2vec_format
from trainer.comparison import text_sessions
from trainer.dataset import open_dataset
from trainer.dataset_layout import RESERVED_TOKENS
from trainer.errors import UserError
from trainer.evaluate import main
from trainer.layout import STATE_TABLES
from trainer.state import FileSum, state_json

CATALOGUE = Catalogue(num_items=400, num_clusters=20)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Test sessions of a catalogue, a model with context vectors, and vectors that are trained on shuffled sessions."""
    folder = tmp_path_factory.mktemp("shop")
    write(CATALOGUE, folder / "test.txt", 1500, seed=2)
    sessions = CATALOGUE.sessions(6000, seed=1)
    flags = {"vector_size": 24, "window": 2, "sg": 1, "min_count": 1, "sample": 0, "seed": 1, "workers": 1}
    model = Word2Vec(sessions, epochs=8, **flags)
    (folder / "model").mkdir()
    words = model.wv.index_to_key
    word2vec_format.write_binary(f"{folder}/model/vectors.bin", words, model.wv.vectors)
    word2vec_format.write_binary(f"{folder}/model/context_vectors.bin", words[::-1], model.syn1neg[::-1])
    rng = np.random.default_rng(0)
    tokens = rng.permutation([token for session in sessions[:1500] for token in session]).tolist()
    Word2Vec([tokens], epochs=1, **flags).wv.save_word2vec_format(str(folder / "noise.bin"), binary=True)
    return folder


def report(shop, *flags, models=("model",)):
    """The contents of the JSON file that the command writes about sessions."""
    main([*[str(shop / model) for model in models], *map(str, flags), "--json", str(shop / "scores.json")])
    return json.loads((shop / "scores.json").read_text())


def hit_rates(results, k):
    return {
        (each["model"].rsplit("/")[-1], each["score"]): each["metrics"]["hit_rate"]
        for each in results
        if each["k"] == k
    }


def test_a_trained_model_is_between_popularity_and_the_best(shop):
    found = report(shop, "--sessions", shop / "test.txt", "--k", "5,10", "--history", "1")["next_item"][0]

    rates = hit_rates(found["results"], 10)
    best = best_metrics(CATALOGUE, CATALOGUE.sessions(1500, seed=2), 10)["hit_rate"]
    assert 0.7 < best < 0.95
    assert rates["", "popularity"]["high"] < 0.2 * best
    assert 0.5 * best < rates["model", "cosine"]["low"]
    assert 0.85 * best < rates["model", "context"]["low"] < rates["model", "context"]["high"] < 1.05 * best
    assert all(each["low"] < each["value"] < each["high"] for each in rates.values())
    assert found["sessions"] == 1500 > found["questions"] > 1000 and found["unknown_share"] < 0.01


def test_two_models_are_compared_by_their_paired_difference(shop, capsys):
    models = ("noise.bin", "model")
    found = report(shop, "--sessions", shop / "test.txt", models=models)["next_item"][0]

    rates, differences = hit_rates(found["results"], 20), hit_rates(found["differences"], 20)
    assert list(differences) == [("model", "cosine")]  # the other has no context vectors
    difference = differences["model", "cosine"]
    expected = rates["model", "cosine"]["value"] - rates["noise.bin", "cosine"]["value"]
    assert difference["value"] == pytest.approx(expected, abs=2e-6)
    assert 0.1 < difference["low"] < difference["value"] < difference["high"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{shop}/test.txt: {found['questions']:,} questions of 1,500 sessions, 0.")
    titles = [line.partition("  ")[0] for line in lines[2::2]]
    a, b = (f"{shop}/{name}" for name in models)
    assert titles[:-1] == ["popularity", f"{a}, cosine", f"{b}, cosine", f"{b}, context", f"{b} - {a}, cosine"]
    assert lines[-1] == f"without context vectors, and so without target-context scores: {a}"


def test_context_vectors_come_from_the_state_if_they_are_not_exported(shop):
    """And the vectors of words too, if neither vectors.bin nor vectors.txt is there; and the counts for popularity."""
    vectors, contexts = (word2vec_format.load(f"{shop}/model/{name}.bin") for name in ("vectors", "context_vectors"))
    folder = shop / "model of state" / "state"
    folder.mkdir(parents=True)
    rows = [vectors.index[word] for word in contexts.words]
    for name, table in zip(STATE_TABLES, (vectors.vectors[rows], contexts.vectors), strict=True):
        np.save(folder / name, np.pad(table, [(2, 0), (0, 0)]))
    counts = range(len(rows) + 2, 0, -1)
    lines = "".join(f"{word}\t{n}\n" for word, n in zip((*RESERVED_TOKENS, *contexts.words), counts, strict=True))
    (folder / "vocabulary.tsv").write_text(lines)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    sums = {name: FileSum(len(data), zlib.crc32(data)) for name, data in contents.items()}
    (folder / "state.json").write_bytes(state_json(len(rows) + 2, 24, "adam", "", sums))

    model, other = (
        report(shop, "--sessions", shop / "test.txt", models=[name])["next_item"][0]["results"]
        for name in ("model", "model of state")
    )

    assert [each["metrics"] for each in other[2:]] == [each["metrics"] for each in model[2:]]
    assert [each["score"] for each in other[2:]] == ["cosine"] * 2 + ["context"] * 2
    assert other[0]["metrics"]["hit_rate"]["value"] < 0.5 * model[0]["metrics"]["hit_rate"]["value"]  # rare ones first


def test_held_out_lines_are_the_same_as_a_file_of_their_words(shop, tmp_path):
    """But for popularity, which is by the counts of the dataset. Unknown words are left out."""
    rng = np.random.default_rng(1)
    lines = [rng.integers(1, 20, size=rng.integers(1, 6)).tolist() for _ in range(60)]
    dataset = hold_out(FOLDER / "blocks", tmp_path / "dataset", [lines[:25], lines[25:]])
    opened = open_dataset(str(dataset))
    words = opened.words()
    vocabulary = (dataset / "vocabulary.tsv").read_text().splitlines()
    assert opened.counts().tolist() == [int(line.split("\t")[1]) for line in vocabulary]
    text = "\n".join(" ".join(words[number] if number > 1 else "never-seen" for number in line) for line in lines)
    (tmp_path / "lines.txt").write_text(text)
    known = words[2:][::-1]
    vectors = rng.normal(size=(len(known), 4)).astype(np.float32)
    word2vec_format.write_text(str(shop / "golden.txt"), known, vectors)

    by_ids, by_words = (
        report(shop, *flags, "--k", "3", models=["golden.txt"])["next_item"][0]
        for flags in (["--holdout", dataset], ["--sessions", tmp_path / "lines.txt"])
    )

    assert by_ids.pop("sessions_of") == str(dataset) and by_words.pop("sessions_of") == str(tmp_path / "lines.txt")
    assert by_ids["results"].pop(0) != by_words["results"].pop(0)
    assert by_ids == by_words
    assert by_ids["unknown_share"] == pytest.approx(np.mean([n == 1 for line in lines for n in line]), abs=1e-9)


def test_tensorflow_says_nothing_beside_the_result(tmp_path):
    dataset = hold_out(FOLDER / "blocks", tmp_path / "dataset", [[[2, 3, 4], [5, 6]]])
    words = open_dataset(str(dataset)).words()[2:]
    path = tmp_path / "vectors.txt"
    word2vec_format.write_text(str(path), words, np.ones((len(words), 4), np.float32))
    env = {name: value for name, value in os.environ.items() if not name.startswith("TF_CPP_")}

    result = run_module("trainer.evaluate", path, "--holdout", dataset, is_new=True, env=env)

    assert "popularity" in result.stdout and result.stderr == ""


def test_a_sample_of_sessions_is_always_the_same(shop):
    path = str(shop / "test.txt")
    all_lines = (shop / "test.txt").read_text().splitlines()

    def lines(number):
        material = text_sessions(path, number)
        tokens = iter([material.words[item] for item in material.sessions.items])
        return [" ".join(next(tokens) for _ in range(length)) for length in material.sessions.lengths]

    assert lines(0) == lines(1500) == all_lines
    assert lines(40) == lines(40) and len(lines(40)) == 40
    rest = iter(all_lines)
    assert all(line in rest for line in lines(40))  # in the order of the file


MISTAKES = [
    (["--sessions", "{}/test.txt"], "no model is given: expected MODEL"),
    (["{}/model"], "nothing to score: give --holdout DATASET, --sessions FILE"),
    (["{}/model", "--vectors", "{}/model", "--sessions", "{}/test.txt"], "expected each model once"),
    (["{}/model", "--sessions", "{}/test.txt", "--k", "10,x"], "--k 10,x: expected whole numbers from 1 to 1000"),
    (["{}/model", "--sessions", "{}/test.txt", "--k", "0"], "--k 0: expected whole numbers from 1 to 1000"),
    (["{}/model", "--sessions", "{}/test.txt", "--next", "0"], "--next 0: expected 1 or more"),
    (["{}/model", "--sessions", "{}/test.txt", "--history", "-1"], "--history -1: expected 0 or more"),
    (["{}/model", "--sessions", "{}/empty.txt"], "empty.txt holds no session: expected a session on each line"),
    (["{}/model", "--sessions", "{}/foreign.txt"], "foreign.txt gives no question: none of its 1 sessions has two"),
    (["{}/model", "--sessions", "{}/nowhere"], "nowhere cannot be read (No such file or directory)"),
    (["{}", "--sessions", "{}/test.txt"], "vectors.bin cannot be read (No such file or directory)"),
    (["{}/model", "--holdout", f"{FOLDER}/blocks"], f"--holdout {FOLDER}/blocks has no held-out lines: expected"),
    (["{}/model", "--holdout", "{}/model"], "/model holds no manifest.json: expected the --output of a pipeline run"),
    (["{}/model", "--sessions", "{}/test.txt", "--json", "{}/no/file"], "no/file cannot be written (No such file"),
]  # fmt: skip


@pytest.mark.parametrize("flags, message", MISTAKES)
def test_mistakes_are_told(shop, flags, message):
    (shop / "empty.txt").write_text("\n \n")
    (shop / "foreign.txt").write_text("a b c\n")
    with pytest.raises(UserError) as raised:
        main([flag.format(shop) for flag in flags])
    assert message in str(raised.value) and "\n" not in str(raised.value)
