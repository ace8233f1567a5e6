"""The report: its numbers against plain computations, its page, and the command."""

import base64
import doctest
import hashlib
import html.parser
import itertools
import json
import os
import shlex
import shutil
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from tests.conftest import ROOT, TOPICS, TRAINER_FLAGS, run_module
from tests.trainer.test_training import task
from trainer import report, training
from trainer.building import batch_size
from trainer.config import TrainerConfig
from trainer.curves import EventFile
from trainer.dataset import open_dataset
from trainer.errors import UserError
from trainer.manifest import parse_manifest
from trainer.report import corpus, curves, facts, page, settings, tsne, word_map, words, write
from trainer.report.sources import Corpus, Sources, open_sources, read_metrics
from trainer.report.words import Words
from trainer.task import parse

HOSTILE = ["<script>alert(1)</script>", "</script>", "&amp;", '"onload="', "<b>", "'", "語", "\\u003c", "<!--", "a,b"]


def hostile_sources() -> Sources:
    """A run whose words and paths look like HTML."""
    draws = np.random.default_rng(0)
    manifest = parse_manifest((ROOT / "tests/contract/holdout/manifest.json").read_text(), "manifest")
    manifest.config["input"] = ["<img src=x onerror=alert(1)>.txt"]
    names = HOSTILE + [f"word{number}" for number in range(190)]
    counts = np.arange(len(names), 0, -1)
    metrics = {
        "config": {**vars(TrainerConfig(data="</script>", output="o&o")), "init": "<i>"},
        "init": {"taken": 1, "new": 2, "gone": 3, "new_share": 0.5},
        "loss": [3.0, 2.0], "holdout_loss": [3.5, 2.5], "hit_rate_at_10": [0.1, 0.2], "best_epoch": 2,
        "steps_per_epoch": 10, "versions": {"tensorflow": "<2>"}, "finished": "2026-01-02T03:04:05Z",
        "skip_grams_per_epoch": 100, "vocab_size": 202, "train_seconds": 5.0, "words_per_second": 1e6,
    }  # fmt: skip
    curve = [(step, 3.0 - step / 20) for step in range(20)]
    rates = {"learning_rate": curve, "words_per_second": curve, "input_wait_fraction": curve}
    vectors = draws.normal(size=(len(names), 12)).astype(np.float32)
    return Sources(
        "MODEL<>", metrics, {"vectors.bin": 123_456}, Corpus("D", manifest, names, counts), "",
        Words("state", names, vectors, counts), "", {"loss": curve, **rates}, "",
    )  # fmt: skip


# Numbers


@pytest.mark.parametrize("module", [corpus, curves, facts, settings], ids=lambda module: module.__name__)
def test_the_examples_are_right(module):
    results = doctest.testmod(module)
    assert results.attempted and not results.failed


@pytest.mark.parametrize("size", [0, 1, 2, 7, 300, 301, 70_000])
def test_thinned_rows_rise_from_the_first_to_the_last(size):
    rows = corpus.thinned(size).tolist()
    assert rows == sorted(set(rows)) and len(rows) <= 300
    if size:
        assert (rows[0], rows[-1]) == (0, size - 1)
        assert len(rows) > min(size, 20) / 2


def test_coverage_is_the_share_of_the_most_frequent_words():
    counts = [50, 30, 10, 5]
    shares = corpus.coverage(np.array(counts), 100)
    assert shares.tolist() == [sum(counts[: size + 1]) / 100 for size in range(4)]
    assert [corpus.size_for(shares, share) for share in (0, 0.5, 0.51, 0.9, 0.95, 0.96)] == [1, 1, 2, 3, 4, None]


def test_a_resumed_run_has_one_curve(tmp_path):
    first = EventFile(str(tmp_path), 0)
    for step in (0, 10, 20, 30):
        first.add(step, {"loss": 5.0 - step / 100})
    first.flush()
    time.sleep(0.01)
    second = EventFile(str(tmp_path), 20)
    for step in (20, 25):
        second.add(step, {"loss": step / 100, "holdout_loss": 1.0})
    second.flush()

    found = curves.read_curves(str(tmp_path))

    assert [step for step, _ in found["loss"]] == [0, 10, 20, 25]
    assert [value for _, value in found["loss"]] == pytest.approx([5.0, 4.9, 0.2, 0.25])
    assert found["holdout_loss"] == [(20, 1.0), (25, 1.0)]
    assert curves.read_curves(str(tmp_path / "none")) == {}


def test_a_curve_of_many_points_keeps_the_first_and_the_last():
    points = [curves.Point(step, step, float(step)) for step in range(5001)]
    curve = curves.last_run(points)
    assert (curve[0], curve[-1]) == ((0, 0.0), (5000, 5000.0))
    assert 300 < len(curve) <= 601


@pytest.mark.parametrize("bytes_at_once", [1, 1000, 1 << 20])
def test_neighbours_are_those_of_a_full_sort(bytes_at_once, monkeypatch):
    monkeypatch.setattr(words, "_BYTES_AT_ONCE", bytes_at_once)
    vectors = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    vectors[7] = 0
    table = Words("x", [str(row) for row in range(50)], vectors)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    for row, found in zip((3, 7, 49), table.nearest([3, 7, 49], 5), strict=True):
        cosines = unit @ unit[row]
        expected = sorted((other for other in range(50) if other != row), key=lambda other: (-cosines[other], other))
        assert len(found) == 5
        if row != 7:  # all cosines of a zero vector are 0
            assert [other for other, _ in found] == expected[:5]
        assert [cosine for _, cosine in found] == pytest.approx([cosines[other] for other, _ in found], abs=1e-6)
    assert len(table.nearest([3], 100)[0]) == 49


def test_the_words_are_the_same_from_each_file(model_dir, tmp_path):
    """The files are taken away one after the other. The state alone, and the SavedModel, have the counts."""
    shutil.copytree(model_dir, tmp_path / "model")
    found = []
    for name in ("state", "vectors.bin", "vectors.txt", "saved_model"):
        found.append(words.open_words(str(tmp_path / "model")))
        assert found[-1].source == name
        path = tmp_path / "model" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for other in found[1:]:
        assert list(other.words) == list(found[0].words)
        np.testing.assert_array_equal(other.vectors, found[0].vectors)
    assert found[0].counts.tolist() == found[3].counts.tolist()
    with pytest.raises(UserError, match="has no vectors: expected state, vectors.bin"):
        words.open_words(str(tmp_path / "model"))


def test_a_damaged_state_is_not_used_if_another_file_is_there(model_dir, tmp_path):
    shutil.copytree(model_dir, tmp_path / "model")
    (tmp_path / "model/state/state.json").write_text("{}")
    assert words.open_words(str(tmp_path / "model")).source == "vectors.bin"


# The map


def test_attraction_is_symmetric_and_has_the_perplexity():
    points = np.random.default_rng(2).normal(size=(200, 10)).astype(np.float32)
    joint = tsne.joint_probabilities(points, 10).astype(np.float64)
    np.testing.assert_array_equal(joint, joint.T)
    assert joint.sum() == pytest.approx(1, abs=1e-4) and not joint.diagonal().any()
    assert 20 < np.count_nonzero(joint, axis=1).mean() < 62


def test_the_slope_is_that_of_the_divergence(monkeypatch):
    draws = np.random.default_rng(3)
    joint = tsne.joint_probabilities(draws.normal(size=(30, 5)).astype(np.float32), 5)
    places = draws.normal(size=(30, 2))

    def divergence(at):
        near = 1 / (1 + ((at[:, np.newaxis] - at) ** 2).sum(axis=2))
        np.fill_diagonal(near, 0)
        shares = near / near.sum()
        there = joint > 0
        return float((joint[there] * np.log(joint[there] / shares[there])).sum())

    expected = np.zeros_like(places)
    for index in itertools.product(range(30), range(2)):
        step = np.zeros_like(places)
        step[index] = 1e-5
        expected[index] = (divergence(places + step) - divergence(places - step)) / 2e-5
    with tsne.ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(tsne, "_ROWS_AT_ONCE", 7)
        found = tsne.gradient(joint, places.astype(np.float32), pool)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_words_of_a_topic_are_near_each_other_on_the_map():
    draws = np.random.default_rng(4)
    topics = draws.normal(size=(6, 40))
    vectors = (np.repeat(topics, 50, axis=0) + 0.6 * draws.normal(size=(300, 40))).astype(np.float32)
    table = Words("x", [f"{row // 50}-{row}" for row in range(300)], vectors)

    found = word_map.make_map(table)
    again = word_map.make_map(table)

    assert found.rows.tolist() == list(range(300))
    distances = ((found.places[:, np.newaxis] - found.places) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) // 50 == np.arange(300) // 50).mean() > 0.98
    np.testing.assert_array_equal(found.places, again.places)
    assert len(found.names) == found.groups.max() + 1 == 5  # a group for 60 words
    sizes = Counter(found.groups.tolist())
    assert [sizes[group] for group in range(5)] == sorted(sizes.values(), reverse=True)
    for group, name in enumerate(found.names):
        assert {found.groups[int(word.split("-")[1])] for word in name.split(", ")} == {group}


def test_the_map_has_the_most_frequent_words():
    vectors = np.random.default_rng(5).normal(size=(40, 4)).astype(np.float32)
    counts = np.random.default_rng(6).permutation(40)
    found = word_map.make_map(Words("x", [str(row) for row in range(40)], vectors, counts), most=10)
    assert counts[found.rows].tolist() == list(range(39, 29, -1))


@pytest.mark.parametrize("size", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("dimension", [1, 3])
def test_few_or_equal_words_have_a_map(size, dimension):
    for vectors in (np.ones([size, dimension], np.float32), np.zeros([size, dimension], np.float32)):
        found = word_map.make_map(Words("x", [str(row) for row in range(size)], vectors))
        assert found.places.shape == (size, 2) and np.isfinite(found.places).all()


# Settings


def test_the_command_gives_the_same_settings():
    changed = {"learning_rate": 0.1234567, "decay": "none", "state": False, "seed": 7, "exports": "all"}
    config = TrainerConfig(data="a b'c", output="-o", resume=True, **changed)
    text = settings.command("trainer.task", settings.trainer_settings(vars(config)))
    module, *argv = shlex.split(text.replace("\\\n", ""))[2:]
    assert module == "trainer.task"
    assert vars(parse(argv)) == {**vars(config), "resume": False}
    assert "epochs" not in text


def test_the_automatic_size_of_a_batch_is_no_setting(dataset_dir):
    dataset = open_dataset(str(dataset_dir))
    chosen = batch_size(TrainerConfig(data="d", output="o"), dataset)
    for size, is_default in ((chosen, True), (chosen + 1, False)):
        rows = settings.trainer_settings({"batch_size": size}, dataset.manifest)
        assert [row.is_default for row in rows] == [is_default]


# The page


class Parsed(html.parser.HTMLParser):
    """What a page has: its elements, its text outside of scripts, and the contents of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.scripts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script" and not data.isspace():
            self.scripts[-1] += data
        else:
            self.text.append(data)


@pytest.fixture(scope="module")
def hostile():
    text = write.make_page(hostile_sources())
    return text, Parsed(text)


def test_words_that_look_like_html_are_text(hostile):
    _, parsed = hostile
    assert [tag for tag, _ in parsed.elements].count("script") == 3
    assert not {"img", "iframe", "link", "object"} & {tag for tag, _ in parsed.elements}
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    data = json.loads(parsed.scripts[0])
    assert data["map"]["words"][: len(HOSTILE)] == HOSTILE
    assert "".join(parsed.text).count("<img src=x onerror=alert(1)>.txt") >= 3


def test_the_page_requests_nothing_and_runs_only_its_own_scripts(hostile):
    _, parsed = hostile
    links = [attributes[name] for _, attributes in parsed.elements for name in ("src", "href") if name in attributes]
    assert links and all(link.startswith("#") for link in links)
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert {link[1:] for link in links} <= set(ids) and len(ids) == len(set(ids))
    (policy,) = (attributes["content"] for _, attributes in parsed.elements if attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "http" not in policy
    for script in parsed.scripts[1:]:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert dict(parsed.elements)["html"] == {"lang": "en"}


def test_the_page_tells_the_run(hostile):
    text, parsed = hostile
    said = " ".join(" ".join(parsed.text).split())
    for expected in (
        "Finished 2026-01-02 03:04 UTC", "in the vocabulary", "2.0000", "loss in the last epoch", "held out", "<2>",
        "The run started from <i>. 1 words went on from there; 2 were new, which are 50.0% of the text",
        "python -m pipeline", "--input '<img src=x onerror=alert(1)>.txt'", "python -m trainer.task", "123 kB",
        "Random words",
    ):  # fmt: skip
        assert expected.lower() in said.lower(), expected
    names = [plot["name"] for plot in json.loads(parsed.scripts[0])["plots"]]
    assert names == [
        "frequency", "coverage", "lengths", "loss", "hit_rate_at_10", "learning_rate", "words_per_second",
        "input_wait_fraction",
    ]  # fmt: skip
    assert {f"plot-{name}" for name in names} <= {attributes.get("id") for _, attributes in parsed.elements}


def test_every_counter_of_a_dataset_has_words():
    """Those that the page shows elsewhere are left out."""
    elsewhere = {"holdout_lines", "holdout_words", "phrases"}
    for path in (ROOT / "tests/contract").glob("*/manifest.json"):
        counters = json.loads(path.read_text())["counters"]
        told = {name for name in counters if name in facts.MENDED or name.startswith("lines_of_")}
        assert set(counters) - told <= elsewhere


def test_json_in_html_is_the_same_json():
    values = [*HOSTILE, "\u2028", {"a": None}]
    found = page.json_for_html(values)
    assert not {"<", ">", "&"} & set(found) and json.loads(found) == values


# The command


@pytest.fixture
def model(model_dir, tmp_path):
    return shutil.copytree(model_dir, tmp_path / "model")


def test_the_command_writes_the_report(model, dataset_dir):
    result = run_module("trainer.report", model, "--words", "cat,red", "one")
    assert (result.stdout, result.stderr) == (f"{model / 'report.html'}\n", "")
    parsed = Parsed((model / "report.html").read_text())
    said = " ".join(" ".join(parsed.text).split())
    assert "Chosen words cat" in said
    data = json.loads(parsed.scripts[0])
    assert set(data["map"]["words"]) >= {word for topic in TOPICS.values() for word in topic}
    loss = next(plot for plot in data["plots"] if plot["name"] == "loss")
    assert [line["name"] for line in loss["data"]] == ["training, between two points", "training, mean of the epoch"]
    lengths = next(plot for plot in data["plots"] if plot["name"] == "lengths")
    manifest = json.loads((dataset_dir / "manifest.json").read_text())
    assert sum(lengths["data"][0]["y"]) == manifest["num_lines"]
    assert not list(model.glob("*.tmp"))


def test_without_dataset_logs_and_vectors_the_page_says_so(model, tmp_path):
    metrics = json.loads((model / "metrics.json").read_text())
    metrics["config"]["data"] = str(tmp_path / "gone")
    (model / "metrics.json").write_text(json.dumps(metrics))
    for name in ("logs", "state", "vectors.bin", "vectors.txt", "saved_model"):
        path = model / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    path = write.write_report(str(model), output=str(tmp_path / "page.html"))

    said = " ".join(" ".join(Parsed(open(path).read()).text).split())
    assert f"{tmp_path / 'gone'} holds no dataset any more" in said
    assert "There is no map and there are no neighbours" in said and "has no vectors" in said
    assert "there is one point for each epoch" in said
    assert "Loss per skip-gram" in said and "embedding_dim" in said


def test_another_dataset_in_its_place_is_not_taken_for_it(model, dataset_dir, tmp_path):
    other = shutil.copytree(dataset_dir, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["counters"]["lines_empty"] = 77
    (other / "manifest.json").write_text(json.dumps(manifest))
    result = run_module("trainer.report", model, "--data", other, check=False)
    assert result.returncode == 2
    assert result.stderr.endswith(f"--data {other} holds another dataset than the one that the model was trained on\n")
    assert not (model / "report.html").exists()


def test_an_old_dataset_has_no_lengths(model, dataset_dir):
    sources = open_sources(str(model))
    counters = {name: n for name, n in sources.corpus.manifest.counters.items() if not name.startswith("lines_of_")}
    old = SimpleNamespace(**{**vars(sources.corpus.manifest), "counters": counters})
    sources = Sources(**{**vars(sources), "corpus": Corpus("D", old, sources.corpus.words, sources.corpus.counts)})
    assert "did not count the words in a line" in write.make_page(sources)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "holds no metrics.json: expected the --output of a training run that has fini"),
        (lambda path: path.write_text("{"), "metrics.json is damaged"),
        (lambda path: path.write_text("[1]"), "metrics.json is damaged"),
        (lambda path: path.write_text('{"config": {}, "loss": ["x"], "steps_per_epoch": 1}'), "json is damaged"),
        (lambda path: path.write_text('{"config": {}, "loss": [], "steps_per_epoch": 1}'), "json is damaged"),
    ],
    ids=["none", "cut", "a list", "a text", "no epoch"],
)  # fmt: skip
def test_a_model_that_is_not_complete_is_refused(change, message, model):
    change(model / "metrics.json")
    with pytest.raises(UserError, match=message) as raised:
        read_metrics(str(model))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("a/news.txt", "news.txt"), ("a/corpus/*.txt", "corpus"), ("gs://bucket/days/d=*/*", "days"), ("*.txt", "*.txt")],
)
def test_the_title_names_the_last_part_without_wildcards(pattern, name):
    assert facts.source_name(pattern) == name


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--words", "nonsuch"], 2, "--words 'nonsuch' is not among the"),
        (["--data", "nowhere"], 2, "--data nowhere holds no dataset any more"),
        (["--log_dir", "nowhere"], 2, "--log_dir nowhere: expected a folder with TensorBoard's files"),
        (["--output", "/nowhere/page.html"], 2, "--output /nowhere/page.html cannot be written (No such file or"),
        (["--top", "3"], 2, "unrecognized arguments: --top 3"),
    ],
    ids=["word", "data", "logs", "output", "flag"],
)
def test_a_mistake_is_one_line(flags, code, message, model):
    result = run_module("trainer.report", model, *flags, check=False)
    assert result.returncode == code and message in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (model / "report.html").exists()


def test_a_remote_model_is_read_and_written_with_tensorflow(model):
    """TensorFlow opens such a path as it opens gs://."""
    path = write.write_report(f"file://{model}")
    assert path == f"file://{model}/report.html"
    parsed = Parsed((model / "report.html").read_text())
    plots = {plot["name"]: plot for plot in json.loads(parsed.scripts[0])["plots"]}
    assert len(plots["words_per_second"]["data"][0]["x"]) > 3
    assert json.loads(parsed.scripts[0])["map"]["words"]


def test_the_best_epoch_is_the_one_whose_numbers_are_shown():
    sources = hostile_sources()
    sources.metrics["best_epoch"] = 1
    found = {value: name for name, value in facts.tiles(sources)}
    assert found["3.0000"] == "loss in epoch 1, the best" and found["3.5000"] == "loss of held-out lines"


# The trainer


def test_a_run_writes_the_report_and_the_next_one_replaces_it(dataset_dir, tmp_path):
    flags = [flag for flag in TRAINER_FLAGS if flag != "--no_report"]
    run = ("trainer.task", "--data", dataset_dir, "--output", tmp_path / "model")
    result = run_module(*run, *flags)
    path = tmp_path / "model/report.html"
    assert "Word vectors of" in path.read_text() and result.stdout.endswith(f"report: {path}\n")
    path.unlink()

    run_module(*run, *flags, "--resume")  # the model is complete, only the report is missing
    assert path.exists()

    task(dataset_dir, tmp_path / "model", "--overwrite")
    assert not path.exists() and (tmp_path / "model/metrics.json").exists()


def test_a_report_that_fails_is_one_line_and_the_model_stays(dataset_dir, tmp_path, monkeypatch, capsys):
    def fail(model, **_):
        raise ValueError("no\nsuch thing")

    monkeypatch.setattr(training, "write_report", fail)
    config = TrainerConfig(data=str(dataset_dir), output=str(tmp_path / "model"), epochs=1, batch_size=8)
    training.train(config, verbose=True)

    assert "report.html could not be written (ValueError: no): python -m trainer.report" in capsys.readouterr().out
    assert {"metrics.json", "vectors.bin"} <= set(os.listdir(tmp_path / "model"))


def test_the_docstring_names_every_module():
    named = {line.split()[0] for line in report.__doc__.splitlines() if ".py " in line}
    assert named == {path.name for path in (ROOT / "trainer/report").glob("*.py")} - {"__init__.py"}
