"""The benchmark: what it runs, in which order, and what it makes of the figures. Nothing here looks at a time."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests import forked
from tests.benchmarks import (
    compare,
    devices,
    exports,
    going_on,
    measurements,
    nearest,
    nearest_libraries,
    parts,
    pword2vec,
    report,
    word2vec,
)
from tests.conftest import ROOT, run_module, topical_text
from trainer import training
from trainer.batches import epoch_batches
from trainer.columns import Columns
from trainer.config import TrainerConfig
from trainer.dataset import open_dataset
from trainer.errors import UserError
from trainer.group import Group
from trainer.word2vec_format import write_binary


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(topical_text(2000))
    return path


# A program with the flags and the output of pWord2Vec. It writes its arguments down, and vectors of zeros.
PWORD2VEC = r"""
import collections, json, pathlib, sys
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if not flags:
    sys.exit(print("-batch-size <int>"))
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(flags))
text = pathlib.Path(flags["-train"]).read_text()
counts = collections.Counter(text.split())
words = ["</s>"] + [word for word, count in counts.items() if count >= int(flags["-min-count"])]
print("Vocab size:", len(words))
print("Words in train file:", text.count("\n") + sum(counts[word] for word in words))
for speed in (111, 250):
    print("\rAlpha: 0.02  Progress: 50.00%  Words/sec:", f"{speed}.00k", end="")
with open(flags["-output"], "wb") as file:
    file.write(f"{len(words)} 2\n".encode())
    for word in words:
        file.write(word.encode() + b" " + bytes(8) + b"\n")
"""


def write_program(path, contents):
    path.write_text(contents)
    path.chmod(0o755)
    return path


# The command, for which Python has another path.
BENCHMARK = """
import sys
sys.executable = sys.argv.pop(1)
from tests.benchmarks import word2vec
word2vec.main(sys.argv[1:])
"""


def run_benchmark(folder, args, forks):
    """What the benchmark prints if the programs of some packages are forked, so that it cannot measure their memory."""
    python, environment = forked.python_in(folder, forks)
    command = [sys.executable, "-c", BENCHMARK, python, *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def round_of(gensim, ours, gensim_scores=(0.5, 0.3, 0.1), our_scores=(0.5, 0.3, 0.1), words=1000, **more):
    """A round of compare; what matters are words/s and scores."""

    def side(rate, scores=(0.5, 0.3, 0.1)):
        names = ("wordsim353", "simlex999", "analogies")
        scores = {**dict(zip(names, scores, strict=True)), "mean": sum(scores) / 3}
        common = {"seconds": 1e6 / rate, "peak_bytes": 10**8, "words": words, "vocab_size": 10}
        return {**common, "words_per_second": rate, "scores": scores}

    sides = {"gensim": side(gensim, gensim_scores), "ours": side(ours, our_scores)}
    return {"corpus": "a.txt", **sides, **{name: side(*figures) for name, figures in more.items()}}


def targets(figures):
    return {figure.target.name: figure.target for figure in figures if figure.target}


def test_all_are_run_in_turn_and_scored_and_written(corpus, tmp_path):
    output = tmp_path / "figures.json"
    peer = write_program(tmp_path / "pword2vec.py", f"#!{sys.executable}{PWORD2VEC}")
    flags = ("--seeds", "7", "--epochs", "1", "--pword2vec", peer, "--workers", "3", "--output", output)
    stdout = run_benchmark(tmp_path, ("--corpus", corpus, *flags), forks=("pipeline", "trainer"))
    contents = json.loads(output.read_text())
    (figures,) = contents["runs"]
    for name in ("words", "vocab_size"):
        assert figures["gensim"][name] == figures["pword2vec"][name] == figures["ours"][name] > 0
    assert figures["seed"] == figures["ours"]["trainer"]["config"]["seed"] == 7
    for side in ("gensim", "pword2vec", "ours"):
        assert figures[side]["words_per_second"] > 0 and figures[side]["peak_bytes"] > 1e6
        assert all(-1 <= score <= 1 for score in figures[side]["scores"].values())
    flags = json.loads(peer.with_suffix(".json").read_text())
    assert flags == {
        "-train": "../corpus.tok", "-output": "pword2vec.bin", "-binary": "1", "-iter": "1", "-threads": "3",
        "-size": "128", "-window": "5", "-batch-size": "11", "-min-count": "5", "-negative": "5", "-sample": "0.001",
    }  # fmt: skip
    assert contents["settings"]["seeds"] == [7] and contents["machine"]["versions"]["gensim"]
    for target in contents["targets"]:
        assert target["name"] and target["corpus"] == "corpus.txt"
        assert isinstance(target["reached"], bool if target["target"] else type(None))
        assert target["min"] <= target["measured"] <= target["max"]
    assert "text to vectors" in stdout and str(output) in stdout


def test_rounds_take_turns_and_use_their_seed(monkeypatch, tmp_path):
    done = []

    def call(module, function, **arguments):
        done.append((function, arguments.get("seed")))
        if "output" in arguments:
            texts.add(arguments.get("corpus"))
        if function == "tokenize_file":
            (tmp_path / "corpus.tok").write_text("a b c\nd e\nf g h i\n")
        figures = {"words": 9, "vocab_size": 3, "words_per_second": 1.0, "wordsim353": 0, "simlex999": 0}
        return {**figures, "analogies": 0, "mean": 0}, {"seconds": 1.0, "peak_bytes": 1}

    def program(*args, more):
        done.append((args[-1], more))
        return {"seconds": 1.0, "peak_bytes": 1, "words_per_second": 2.0, "words": 9, "vocab_size": 3}

    def peer(path, tokens, vectors, epochs, threads, settings):
        done.append((path, tokens.read_text()))
        figures = {"seconds": 4.0, "peak_bytes": 1, "words_per_second": 0.5, "words": 9, "vocab_size": 3}
        return {**figures, "vectors": "c"}

    texts = set()
    monkeypatch.setattr(compare, "call", call)
    monkeypatch.setattr(compare, "run_pipeline", program)
    monkeypatch.setattr(compare, "run_trainer", program)
    monkeypatch.setattr(pword2vec, "train", peer)
    flags = ["--seeds", "3", "5", "--first_words", "4", "--pword2vec", "p"]
    args = word2vec.parse(["--corpus", "a", *flags, "--pipeline_flags=-p", "--trainer_flags=-t"])
    figures, rounds = compare.compare(args, tmp_path)
    scores = [("score", None)] * 3
    assert done[1:] == [
        one
        for seed in (3, 5)
        for text in ("a b c\nd e\nf g h i\n", "a b c\nd\n")
        for one in [("train", seed), ("p", text), (f"--seed={seed}", "-p"), (f"--seed={seed}", "-t"), *scores]
    ]
    second = "the first 4 words of a"
    assert [(figures["seed"], figures["corpus"]) for figures in rounds] == [
        (3, "a"),
        (3, second),
        (5, "a"),
        (5, second),
    ]
    assert list(dict.fromkeys(figure.corpus for figure in figures)) == ["a", second]
    assert list(figures[0].runs) == ["gensim", "pWord2Vec", "this project"]
    for corpus in ("a", second):
        found = targets([figure for figure in figures if figure.corpus == corpus])
        assert found["training/gensim"].measured == found["text_to_vectors/gensim"].measured == 2.0
        assert found["training/pword2vec"].runs == [4.0, 4.0]
        assert found["text_to_vectors/pword2vec"].runs == [0.5, 0.5]
    args.first_words = 9
    with pytest.raises(UserError, match="^--first_words 9: expected fewer than --corpus a has, which is 9$"):
        compare.compare(args, tmp_path)


def test_speed_is_the_quotient_of_medians_with_the_spread_of_the_rounds():
    found = targets(compare.comparison([round_of(10, 60), round_of(10, 15), round_of(20, 80)], "a.txt"))
    assert found["training/gensim"].measured == 6.0 and found["training/gensim"].runs == [6.0, 1.5, 4.0]
    assert found["training/gensim"].reached
    assert found["text_to_vectors/gensim"].measured == pytest.approx(1 / 6) and found["text_to_vectors/gensim"].reached
    assert not targets(compare.comparison([round_of(10, 49)], "a.txt"))["training/gensim"].reached


@pytest.mark.parametrize("words, gensim, pword2vec", [(4_999_999, True, None), (5_000_000, False, False)])
def test_a_text_that_is_mostly_start_up_may_take_longer(words, gensim, pword2vec):
    found = targets(compare.comparison([round_of(10, 20, words=words, pword2vec=(30,))], "a.txt"))
    assert found["text_to_vectors/gensim"].reached is gensim
    assert found["text_to_vectors/pword2vec"].measured == 1.5
    assert found["text_to_vectors/pword2vec"].reached is pword2vec


def test_quality_is_the_mean_over_the_seeds_and_no_test_set_may_lose():
    gensim = [(0.5, 0.3, 0.1), (0.5, 0.3, 0.1)]
    found = targets(
        compare.comparison([
            round_of(1, 2, gensim[0], (0.6, 0.28, 0.1), pword2vec=(1, (0.5, 0.29, 0.1))),
            round_of(1, 2, gensim[1], (0.6, 0.31, 0.1), pword2vec=(1, (0.5, 0.31, 0.1))),
        ], "a.txt")
    )  # fmt: skip
    gain = (0.1 - 0.005) / 3
    assert found["mean_gain/gensim"].measured == pytest.approx(gain) and found["mean_gain/gensim"].reached
    assert found["lowest_gain/gensim"].measured == pytest.approx(-0.005) and found["lowest_gain/gensim"].reached
    assert found["lowest_gain/gensim"].runs == pytest.approx([-0.02, 0])
    assert found["simlex999_gain/pword2vec"].runs == pytest.approx([-0.01, 0])
    assert found["simlex999_gain/pword2vec"].measured == pytest.approx(-0.005)
    assert found["mean_gain/pword2vec"].measured == pytest.approx(gain)
    lost = targets(compare.comparison([round_of(1, 2, gensim[0], (0.7, 0.28, 0.1))], "a.txt"))
    assert lost["mean_gain/gensim"].reached and not lost["lowest_gain/gensim"].reached


@pytest.mark.parametrize(
    "contents, mode, told",
    [
        (None, None, "is not there"),
        ("#!/bin/sh\n", 0o644, "is not executable"),
        ("\0", 0o755, "cannot be started"),
        ("#!/bin/sh\necho no libmkl >&2\nexit 3\n", 0o755, "ended with 3 (no libmkl)"),
        ("#!/bin/sh\necho '-cbow <int>'\n", 0o755, "has no flag -batch-size"),
    ],
)
def test_a_program_that_is_not_pword2vec_is_told_before_anything_runs(corpus, contents, mode, told):
    path = corpus.with_name("peer")
    if contents is not None:
        path.write_text(contents)
        path.chmod(mode)
    with pytest.raises(UserError) as caught:
        word2vec.check(word2vec.parse(["--corpus", str(corpus), "--pword2vec", str(path)]))
    message = str(caught.value)
    assert message.startswith(f"--pword2vec {path} {told}") and "expected the program pWord2Vec" in message
    assert "\n" not in message


_COUNTS = "echo Vocab size: 3; echo Words in train file: 12; "
_SPEED = "printf 'Words/sec: 0.10k\\rWords/sec: 0.02k\\r'; "


@pytest.mark.parametrize(
    "script, told",
    [
        (_COUNTS + _SPEED + "kill -9 $$", "ended with -9 (Words/sec: 0.02k)"),
        (_COUNTS + _SPEED, "has written no vectors"),
        (_SPEED + "echo 3 2 > v.bin", "has not told how many words it found"),
        (_COUNTS + "echo 3 2 > v.bin", "has not told its speed"),
    ],
)
def test_a_peer_that_fails_in_its_round_is_told_in_one_line(tmp_path, script, told):
    with pytest.raises(UserError) as caught:
        train_with(tmp_path, script)
    assert f"--pword2vec {tmp_path / 'peer'} {told}" in str(caught.value) and "\n" not in str(caught.value)


def test_all_words_of_the_text_count_in_the_speed_of_pword2vec(tmp_path):
    figures = train_with(tmp_path, _COUNTS + _SPEED + "echo 3 2 > v.bin")
    assert figures["train_seconds"] == pytest.approx(2 * 12 / 20)
    assert figures["words"] == 10 and figures["words_per_second"] == pytest.approx(2 * 10 / 1.2)
    assert figures["vocab_size"] == 2  # without the end of a line


def train_with(folder, script):
    peer = write_program(folder / "peer", "#!/bin/sh\n" + script)
    (folder / "a.tok").write_text("a b c d\n" * 2 + "x y\n")
    return pword2vec.train(str(peer), folder / "a.tok", folder / "v.bin", 2, 2, compare.SETTINGS)


def pipeline_run(times, seconds, peak_bytes=10**9, size=1.3):
    figures = {"words": times * 10**6, "vocab_size": 10, "seconds": seconds, "peak_bytes": peak_bytes}
    return {"times": times, **figures, "bytes_per_skip_gram": size}


@pytest.mark.parametrize(
    "seconds, measured, reached",
    [([7, 25, 65], 1.0, True), ([7, 25, 105], 2.0, False), ([27, 45, 85], 1.0, True)],
)
def test_time_is_linear_if_the_words_that_are_added_take_no_longer(seconds, measured, reached):
    runs = [pipeline_run(times, s) for times, s in zip((1, 10, 30), seconds, strict=True)]
    linear = targets(measurements.growth(runs, runs[0]))["time_linear"]
    assert linear.measured == pytest.approx(measured) and linear.reached is reached


def test_growth_judges_the_slowest_text_the_memory_and_the_bytes():
    runs = [pipeline_run(1, 4), pipeline_run(10, 10, 2 * 10**9, 2.7), pipeline_run(1, 1), pipeline_run(10, 10)]
    found = targets(measurements.growth(runs, pipeline_run(1, 1, size=3.3)))
    assert "time_linear" not in found  # takes three sizes
    assert found["pipeline"].measured == 625_000 and found["pipeline"].reached
    assert found["memory_flat"].measured == 1.5 and not found["memory_flat"].reached
    assert found["bytes_per_skip_gram"].measured == 2.7 and not found["bytes_per_skip_gram"].reached
    assert found["bytes_per_skip_gram_uncompressed"].reached
    assert set(targets(measurements.growth(runs[:1], runs[0]))) == {
        "pipeline", "bytes_per_skip_gram", "bytes_per_skip_gram_uncompressed",
    }  # fmt: skip


def test_min_count_grows_with_the_text(monkeypatch, tmp_path, corpus):
    done = []

    def run_pipeline(text, data, *flags, more):
        data.mkdir()
        done.append((text.read_text().count("\n"), *flags))
        return pipeline_run(1, 1)

    monkeypatch.setattr(measurements, "run_pipeline", run_pipeline)
    corpus.write_text("no newline at the end")
    args = word2vec.parse(["pipeline", "--corpus", str(corpus), "--times", "3", "1", "--runs", "2"])
    measurements.pipeline(args, tmp_path)
    assert done == [
        (1, "--min_count=5", "--seed=1"),
        (3, "--min_count=15", "--seed=1"),
        (1, "--min_count=5", "--seed=2"),
        (3, "--min_count=15", "--seed=2"),
        (1, "--min_count=5", "--compression=none"),
    ]


def test_table_has_the_spread_where_there_is_one():
    target = report.ratio("faster", ">=", 2, [4.0, 6.0], [1.0, 2.0])
    figures = [
        report.Figure("rate", {"a": [1.0, 2.0], "b": [4.0, 6.0]}, ".1f", target),
        report.Figure("size", {"b": [1e6, 1e6]}),
        report.Figure("told", {}, target=report.Target("told", "<=", None, 1.5, [1.5]), corpus="c.txt"),
        report.Figure("size", {"b": [2]}, corpus="c.txt"),
    ]
    assert report.table(figures).splitlines() == [
        "                      a                 b             measured   target",
        "rate   1.5 (1.0 to 2.0)  5.0 (4.0 to 6.0)  3.33 (3.00 to 4.00)  >= 2.00  reached",
        "size                            1,000,000",
        "c.txt",
        "told                                                      1.50",
        "size                                    2",
    ]


def test_nothing_is_reached_by_what_is_no_number():
    for sense in (">=", "<="):
        assert not report.Target("a", sense, 1.0, float("nan"), [float("nan")]).reached


@pytest.mark.parametrize(
    "argv, named",
    [
        ([], "--corpus"),
        (["compare"], "--corpus"),
        (["pipeline", "--runs", "3"], "--corpus"),
        (["--corpus", "a.txt", "--seeds", "0"], "--seeds"),
        (["--corpus", "a.txt", "--epochs", "two"], "--epochs"),
        (["--corpus", "a.txt", "--times", "1"], "--times"),
        (["stpe"], "stpe"),
        (["--corpus", "not/there.txt"], "--corpus not/there.txt"),
        (["--corpus", "tests/conftest.py", "--pword2vec", "not/there"], "--pword2vec not/there"),
        (["step", "--trainer_flags=--precision half"], "--precision"),
        (["step", "--output", "not/there.json"], "--output not/there.json"),
        (["step", "--vocab_sizes", "500", "400"], "--vocab_sizes 500 400"),
        (["devices", "--devices", "0"], "--devices"),
        (["devices", "--devices", "1", "8", "--embedding_dim", "7"], "--devices 8"),
        (["devices", "--vocab_size", "3"], "--vocab_size 3"),
        (["devices", "--corpus", "not/there.txt"], "--corpus not/there.txt"),
    ],
)
def test_mistakes_are_told_in_one_line(argv, named, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as raised:
        word2vec.main(argv)
    assert named in str(raised.value) and "\n" not in str(raised.value)
    assert capsys.readouterr().out == ""


def test_a_mistake_ends_the_command():
    result = run_module("tests.benchmarks.word2vec", "stpe", check=False)
    assert result.returncode == 2
    assert "stpe" in result.stderr and result.stderr.count("\n") == 1
    assert not result.stdout


def test_gensim_is_named_if_it_is_missing(monkeypatch, corpus):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"gensim .* pip install '.\[bench\]'"):
        word2vec.check(word2vec.parse(["--corpus", str(corpus)]))
    word2vec.check(word2vec.parse(["pipeline", "--corpus", str(corpus)]))  # needs none


def test_blas_is_not_tuned_for_another_machine(monkeypatch, tmp_path, capsys):
    def fake(args, directory):
        assert "OPENBLAS_CORETYPE" not in os.environ and "OPENBLAS_L2_SIZE" not in os.environ
        return [report.Figure("figure", {"ours": [1.0]})], [{"raw": 1}]

    monkeypatch.setenv("OPENBLAS_CORETYPE", "PRESCOTT")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "1")
    monkeypatch.setitem(word2vec._COMMANDS, "step", fake)
    word2vec.main(["step", "--output", str(tmp_path / "a.json")])
    assert json.loads((tmp_path / "a.json").read_text())["runs"] == [{"raw": 1}]
    assert "figure" in capsys.readouterr().out


@pytest.mark.parametrize("optimizer", ["rowwise_adagrad", "adam"])
@pytest.mark.parametrize("fixture", ["dataset_dir", "pairs_dir"])
def test_the_arithmetic_of_bytes_counts_what_a_step_adds_up(request, tmp_path, fixture, optimizer):
    batch_size = 7  # whose halves differ
    added_up = []

    def add_up(tensors):
        added_up.extend(tensors)
        return list(tensors)

    class HalfOfTheColumns(Group):
        def columns(self, dimension):
            return Columns(dimension, 0, dimension // 2, add_up)

    data = str(request.getfixturevalue(fixture))
    dataset = open_dataset(data)
    config = TrainerConfig(data, str(tmp_path), batch_size=batch_size, embedding_dim=6, optimizer=optimizer)
    model, _ = training.build_model(config, dataset, HalfOfTheColumns())
    model.step(next(iter(epoch_batches(dataset, batch_size, seed=1, epoch=0))))
    counted = sum(tensor.dtype.size * int(np.prod(tensor.shape)) for tensor in added_up)
    assert devices.reduced_bytes(dataset.manifest, batch_size, optimizer) == counted > 0


@pytest.mark.parametrize(
    "asked, num_gpus, cores, numbers",
    [
        (None, 1, 64, [1]),
        (None, 8, 64, [1, 2, 4, 8]),
        (None, 6, 2, [1, 2, 4, 6]),
        (None, 0, 1, [1]),
        (None, 0, 3, [1, 2, 3]),
        (None, 0, 64, [1, 2, 4, 8]),
        ([4, 1, 4], 4, 2, [1, 4]),
        ([16, 1], 0, 2, [1, 16]),
    ],
)
def test_devices_are_doubled_up_to_all_of_them(asked, num_gpus, cores, numbers):
    assert devices.device_numbers(asked, num_gpus, cores) == numbers


def test_more_gpus_than_there_are_cannot_be_asked_for():
    with pytest.raises(UserError, match="^--devices 4: TensorFlow finds 2 GPUs .* at most as many$"):
        devices.device_numbers([1, 4], 2, 64)


def test_one_machine_is_measured(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(UserError, match="TF_CONFIG"):
        word2vec.check(word2vec.parse(["devices"]))


def device_run(devices, words_per_second, waiting=(0.01,), peaks=(1e9,), reduced=0):
    """A run of devices, with 10 steps and 1,000 skip-grams in an epoch, and twice as many skip-grams as words."""
    return {
        "devices": devices,
        "targets_per_step": 64,
        "reduced_bytes_per_step": reduced,
        "trainer": {
            "words_per_second": words_per_second,
            "skip_grams_per_second": 2 * words_per_second,
            "skip_grams_per_epoch": 1000,
            "steps_per_epoch": 10,
            "processes": [{"input_wait_fraction": fraction} for fraction in waiting],
            "peak_bytes_of_each": list(peaks),
            "loss": [3.0, 2.5],
        },
    }


def test_numbers_of_devices_are_compared_by_round():
    runs = [
        device_run(1, 100.0),
        device_run(2, 150.0, (0.01, 0.03), (1e9, 6e8), 4_000_000),
        device_run(1, 50.0),
        device_run(2, 100.0, (0.05, 0.03), (1e9, 8e8), 4_000_000),
    ]
    found = {figure.name: figure.runs for figure in devices.scaling(runs, "GPU")}
    assert found["words/s"] == {"1 x GPU": [100, 50], "2 x GPU": [150, 100]}
    assert found["times the words/s of 1 x GPU"] == {"1 x GPU": [1, 1], "2 x GPU": [1.5, 2]}
    assert found["steps/s"]["2 x GPU"] == [3, 2]
    assert found["MB added up in a second"] == {"1 x GPU": [0, 0], "2 x GPU": [12, 8]}
    assert found["waiting for input, %; the longest"]["2 x GPU"] == [3, 5]
    assert found["peak memory, MB; the largest process"]["2 x GPU"] == [1000, 1000]
    assert found["peak memory, MB; all processes"]["2 x GPU"] == [1600, 1800]
    assert found["loss after the last epoch"]["1 x GPU"] == [2.5, 2.5]


def test_devices_take_turns_on_one_dataset(monkeypatch, tmp_path, dataset_dir):
    done = []

    def run_pipeline(text, data, *flags, more):
        done.append((text, *flags, more))
        data.mkdir()
        (data / "manifest.json").write_text((dataset_dir / "manifest.json").read_text())

    def run_trainer(data, model, *flags, more, largest):
        model.mkdir()
        done.append((*flags, more, largest))
        trained = device_run(0, 1.0)["trainer"]
        return {**trained, "config": {"batch_size": 3, "optimizer": "adam"}}

    monkeypatch.setattr(devices, "run_pipeline", run_pipeline)
    monkeypatch.setattr(devices, "run_trainer", run_trainer)
    flags = ["--runs", "2", "--epochs", "3", "--embedding_dim", "8", "--trainer_flags=-t", "--pipeline_flags=-p"]
    args = word2vec.parse(["devices", "--corpus", "a.txt", "--devices", "1", "4", *flags])
    args.gpus = ["some GPU"] * 4
    figures, runs = devices.devices(args, tmp_path)
    trained = [
        ("--epochs=3", "--embedding_dim=8", f"--seed={seed}", f"--devices={n}", "-t", n)
        for seed in (1, 2)
        for n in (1, 4)
    ]
    assert done == [("a.txt", "-p"), *trained]
    assert [run["reduced_bytes_per_step"] > 0 for run in runs] == [False, True] * 2
    assert runs[0]["targets_per_step"] == 3 * 16
    assert list(figures[0].runs) == ["1 x GPU", "4 x GPU"]


def test_devices_are_measured_on_made_up_text(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    output = tmp_path / "figures.json"
    flags = ("--words", "2000", "--vocab_size", "100", "--epochs", "1", "--runs", "1", "--embedding_dim", "8")
    args = ("devices", *flags, "--devices", "1", "2", "--output", output)
    stdout = run_benchmark(tmp_path, args, forks=("pipeline",))
    contents = json.loads(output.read_text())
    alone, together = contents["runs"]
    assert (alone["devices"], together["devices"]) == (1, 2)
    assert alone["trainer"]["vocab_size"] == 100
    assert len(alone["trainer"]["peak_bytes_of_each"]) == 1
    assert len(together["trainer"]["peak_bytes_of_each"]) == len(together["trainer"]["processes"]) == 2
    # Both processes of TensorFlow are measured, not the small one that starts them.
    assert min(together["trainer"]["peak_bytes_of_each"]) > 0.5 * alone["trainer"]["peak_bytes_of_each"][0]
    assert alone["reduced_bytes_per_step"] == 0 < together["reduced_bytes_per_step"]
    assert contents["machine"]["gpus"] == [] and contents["machine"]["cores"] >= 1
    first, second, *_ = stdout.splitlines()
    assert first == report.headline(contents["machine"]) and first.endswith("no GPU in use")
    assert second.split() == "1 x CPU process 2 x CPU process measured target".split()


def test_the_machine_is_told_in_one_line():
    about = {"cpu": "Some CPU", "cores": 16, "memory_bytes": 64e9, "instructions": ["AVX2", "AVX-512"], "gpus": []}
    assert report.headline(about) == "machine: Some CPU (AVX2, AVX-512), 16 cores, 64 GB, no GPU in use"
    about = {**about, "cores": 1, "instructions": [], "gpus": ["GPU A", "GPU B", "GPU A"]}
    assert report.headline(about) == "machine: Some CPU, 1 core, 64 GB, 2 x GPU A, 1 x GPU B"
    assert report._instructions("fpu avx2 avx512fp16 amx_bf16") == ["AVX2", "AMX BF16"]


def test_tokenised_text_has_single_spaces_and_no_empty_line(tmp_path):
    (tmp_path / "a.txt").write_bytes("The  wide, road\n...\n\n\tÉtat—major\r\nno newline".encode() + b" \xff")
    result = parts.tokenize_file(str(tmp_path / "a.txt"), str(tmp_path / "a.tok"))
    assert (tmp_path / "a.tok").read_text() == "the wide road\nétat major\nno newline\n"
    assert result == {"words": 7, "lines": 3}


def test_made_up_text_has_every_word_and_the_frequent_ones_more_often(tmp_path):
    parts.write_zipf_text(str(tmp_path / "a.txt"), num_distinct=100, num_words=5000)
    words, counts = np.unique((tmp_path / "a.txt").read_text().split(), return_counts=True)
    assert len(words) == 100 and counts.sum() == 5000
    counts = dict(zip(words, counts, strict=True))
    assert counts["w0"] == pytest.approx(2 * counts["w1"], rel=0.2)


def test_steps_are_timed_in_turn_with_all_three_tables(dataset_dir):
    vocab_size = open_dataset(str(dataset_dir)).vocab_size
    runs = parts.time_steps(str(dataset_dir), vocab_size, 10 * vocab_size, runs=2, trainer_flags="--embedding_dim 8")
    assert [list(run) for run in runs] == 2 * [["small", "large", "large_spread"]]
    assert all(seconds > 0 for run in runs for seconds in run.values())


def test_spread_ids_are_as_many_and_reach_the_end_of_the_table():
    ids = np.array([[0, 1, 2, 3], [2, 3, 4, 11]], np.int32)
    spread = parts._spread(ids, stride=(102 - 2) // (12 - 2))
    assert spread.tolist() == [[0, 1, 2, 12], [2, 12, 22, 92]]
    radii = np.array([3], np.uint8)
    assert parts._spread(radii, 10) is radii


def test_input_is_read_to_its_end(dataset_dir):
    dataset = open_dataset(str(dataset_dir))
    assert parts.read_epoch(str(dataset_dir), batch_size=7, seed=1)["batches"] == dataset.steps_per_epoch(7)


def test_a_text_is_divided_into_a_first_part_and_the_rest(tmp_path):
    lines = [f"line {number}\n" for number in range(10)]
    (tmp_path / "text.txt").write_text("".join(lines))
    kept, shuffled = (
        {name: path.read_text() for name, path in going_on.divided(tmp_path / "text.txt", 0.8, tmp_path, keeps).items()}
        for keeps in (True, False)
    )
    assert kept == {"first": "".join(lines[:8]), "rest": "".join(lines[8:]), "all": "".join(lines)}
    assert shuffled["first"] + shuffled["rest"] == shuffled["all"] != kept["all"]
    assert sorted(shuffled["all"].splitlines(keepends=True)) == lines and shuffled["rest"].count("\n") == 2


def test_neighbours_are_kept_where_vectors_keep_their_directions(tmp_path):
    """The neighbours of a point on a circle are the points beside it, so that another order has other neighbours."""
    angles = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    words = [f"w{number}" for number in range(100)]
    other = np.random.default_rng(0).permutation(100)
    for name, vectors in (("before", circle), ("after", 3 * circle[::-1]), ("other", circle[other])):
        (tmp_path / name).mkdir()
        write_binary(str(tmp_path / name / "vectors.bin"), words, vectors)
    assert going_on.kept_neighbours(tmp_path / "before", tmp_path / "after") == 1
    assert going_on.kept_neighbours(tmp_path / "before", tmp_path / "other") < 0.3


def test_exports_are_measured_one_by_one(tmp_path, capsys):
    """The others need libraries that take long to import."""
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "metadata.tsv").write_text("cat\ndog\n")
    (tmp_path / "vectors.tsv").write_text("0.5\t1\n2\t3\n")
    (tmp_path / "vector_search").mkdir()
    (tmp_path / "vector_search" / "words.json").write_text(" " * 160_000)
    exports.main([str(tmp_path), "--runs", "1"])
    _, _, table, service = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()
    )
    assert table[:3] == ["vectors.tsv", "0.0", "NumPy"] and table[5] == "a word's vector"
    assert all(float(table[column].replace(",", "")) >= 0 for column in (3, 4, 6, 7, 8))
    assert service[:4] == ["vector_search", "0.2", "Vertex AI (not here)", ""]


def test_exports_that_are_not_there_are_told(tmp_path):
    for args, named in (
        ([str(tmp_path)], "holds no complete model"),
        ([str(tmp_path), "--runs", "0"], "--runs 0: expected"),
        ([str(tmp_path), "--nearest"], "has no saved_model"),
    ):
        with pytest.raises(UserError, match=named):
            exports.main(args)
    for name, text in (("metrics.json", "{}"), ("metadata.tsv", "cat\n"), ("vectors.tsv", "no number")):
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=r"vectors\.tsv cannot be loaded: ValueError"):
        exports.main([str(tmp_path), "--runs", "1"])


def test_the_search_of_nearest_libraries_is_exact_and_its_recall_is_that_of_what_is_found():
    words = np.random.default_rng(4).normal(size=(40, 6)).astype(np.float32)
    vectors = nearest_libraries.with_noise(words, 100)
    assert vectors.shape == (100, 6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(vectors[:40], words / np.linalg.norm(words, axis=1, keepdims=True), rtol=1e-6)
    assert np.einsum("nd,nd->n", vectors[:40], vectors[40:80]).mean() > 0.8  # a vector and the same with noise

    exact = nearest_libraries.exact(vectors)
    expected = np.argsort(-(vectors @ vectors[3]))[: nearest_libraries.K + 1]
    np.testing.assert_array_equal(exact.search(vectors[3]), expected)
    half = exact._replace(search=lambda query: exact.search(query)[:6])  # the word itself and 5 of its 10 neighbours
    neighbours = [set(expected.tolist()) - {3}]
    for method, recall in ((exact, "1.000"), (half, "0.500")):
        assert nearest_libraries.measured(method, vectors, np.array([3]), neighbours).split("|")[2].strip() == recall


def test_finding_and_reading_is_measured_beside_other_ways(capsys):
    nearest.main(["--words", "50", "--embedding_dim", "4", "--rounds", "2"])

    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("  ")]
    assert lines[:2] == ["one query, 50 x 4, 10 words", "each of 100 queries"]
    assert [line.split(", ")[1] for line in lines[2:]] == ["binary", "text", "GloVe's", "text in .gz"]
    with pytest.raises(UserError, match="^--words 5: expected 20 or more$"):
        nearest.main(["--words", "5"])


def test_ways_are_compared_with_the_first_within_a_round():
    seconds = {"own": [0.1, 0.2, 0.4], "other": [0.4, 0.2, 0.8]}
    own, other = nearest.lines(seconds, per=10)
    assert own.split() == "own 20.0 ms (10.0 to 40.0), 1.00 times (1.00 to 1.00)".split()
    assert other.split() == "other 40.0 ms (20.0 to 80.0), 2.00 times (1.00 to 4.00)".split()
