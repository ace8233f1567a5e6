"""The benchmark: what it runs, in which order, and what it makes of the figures. Nothing here looks at a time."""

import importlib.util
import json
import os

import numpy as np
import pytest

from tests.benchmarks import measurements, parts, report, word2vec
from tests.conftest import run_module, topical_text
from trainer import training
from trainer.batches import epoch_batches
from trainer.columns import Columns
from trainer.config import TrainerConfig
from trainer.dataset import open_dataset
from trainer.errors import UserError
from trainer.group import Group


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(topical_text(2000))
    return path


def round_of(gensim, ours, gensim_scores=(0.5, 0.3, 0.1), our_scores=(0.5, 0.3, 0.1)):
    """A round of compare; what matters are words/s and scores."""

    def side(rate, scores):
        names = ("wordsim353", "simlex999", "analogies")
        scores = {**dict(zip(names, scores, strict=True)), "mean": sum(scores) / 3}
        common = {"seconds": 1e6 / rate, "peak_bytes": 10**8, "words": 1000, "vocab_size": 10}
        return {**common, "words_per_second": rate, "scores": scores}

    return {"gensim": side(gensim, gensim_scores), "ours": side(ours, our_scores)}


def targets(figures):
    return {figure.target.name: figure.target for figure in figures if figure.target}


def test_both_are_run_in_turn_and_scored_and_written(corpus, tmp_path):
    output = tmp_path / "figures.json"
    result = run_module(
        "tests.benchmarks.word2vec", "--corpus", corpus, "--seeds", "7", "--epochs", "1", "--output", output
    )  # fmt: skip
    contents = json.loads(output.read_text())
    (figures,) = contents["runs"]
    for name in ("words", "vocab_size"):
        assert figures["gensim"][name] == figures["ours"][name] > 0
    assert figures["seed"] == figures["ours"]["trainer"]["config"]["seed"] == 7
    for side in ("gensim", "ours"):
        assert figures[side]["words_per_second"] > 0 and figures[side]["peak_bytes"] > 1e7
        assert all(-1 <= score <= 1 for score in figures[side]["scores"].values())
    assert contents["settings"]["seeds"] == [7] and contents["machine"]["versions"]["gensim"]
    for target in contents["targets"]:
        assert target["name"] and target["target"] and isinstance(target["reached"], bool)
        assert target["min"] <= target["measured"] <= target["max"]
    assert "text to vectors" in result.stdout and str(output) in result.stdout


def test_rounds_take_turns_and_use_their_seed(monkeypatch, tmp_path):
    done = []

    def call(module, function, **arguments):
        done.append((function, arguments.get("seed")))
        figures = {"words": 9, "vocab_size": 3, "words_per_second": 1.0, "wordsim353": 0, "simlex999": 0}
        return {**figures, "analogies": 0, "mean": 0}, {"seconds": 1.0, "peak_bytes": 1}

    def program(*args, more):
        done.append((args[-1], more))
        return {"seconds": 1.0, "peak_bytes": 1, "words_per_second": 2.0, "words": 9, "vocab_size": 3}

    monkeypatch.setattr(measurements, "call", call)
    monkeypatch.setattr(measurements, "run_pipeline", program)
    monkeypatch.setattr(measurements, "run_trainer", program)
    args = word2vec.parse(["--corpus", "a", "--seeds", "3", "5", "--pipeline_flags=-p", "--trainer_flags=-t"])
    figures, rounds = measurements.compare(args, tmp_path)
    one_round = [("train", 3), ("--seed=3", "-p"), ("--seed=3", "-t"), ("score", None), ("score", None)]
    assert done[1:6] == one_round
    assert done[6:] == [(name if name == "score" else str(name).replace("3", "5"), 5 if value == 3 else value)
                        for name, value in one_round]  # fmt: skip
    assert [figures["seed"] for figures in rounds] == [3, 5]
    assert targets(figures)["training"].measured == 2.0
    assert targets(figures)["text_to_vectors"].measured == 2.0
    assert not list(tmp_path.iterdir())


def test_speed_is_the_quotient_of_medians_with_the_spread_of_the_rounds():
    found = targets(measurements.comparison([round_of(10, 30), round_of(10, 15), round_of(20, 40)]))
    assert found["training"].measured == 3.0 and found["training"].runs == [3.0, 1.5, 2.0]
    assert found["training"].reached
    assert found["text_to_vectors"].measured == pytest.approx(1 / 3) and found["text_to_vectors"].reached
    assert not targets(measurements.comparison([round_of(10, 19)]))["training"].reached


def test_quality_is_the_mean_over_the_seeds_and_no_test_set_may_lose():
    gensim = [(0.5, 0.3, 0.1), (0.5, 0.3, 0.1)]
    found = targets(
        measurements.comparison([
            round_of(1, 2, gensim[0], (0.6, 0.28, 0.1)),
            round_of(1, 2, gensim[1], (0.6, 0.31, 0.1)),
        ])
    )  # fmt: skip
    gain = (0.1 - 0.005) / 3
    assert found["mean_score_gain"].measured == pytest.approx(gain) and found["mean_score_gain"].reached
    assert found["lowest_score_gain"].measured == pytest.approx(-0.005) and found["lowest_score_gain"].reached
    assert found["lowest_score_gain"].runs == pytest.approx([-0.02, 0])
    lost = targets(measurements.comparison([round_of(1, 2, gensim[0], (0.7, 0.28, 0.1))]))
    assert lost["mean_score_gain"].reached and not lost["lowest_score_gain"].reached


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
    ]
    assert report.table(figures).splitlines() == [
        "                     a                 b             measured   target",
        "rate  1.5 (1.0 to 2.0)  5.0 (4.0 to 6.0)  3.33 (3.00 to 4.00)  >= 2.00  reached",
        "size                           1,000,000",
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
        (["step", "--output", "not/there.json"], "--output not/there.json"),
        (["step", "--vocab_sizes", "500", "400"], "--vocab_sizes 500 400"),
        (["devices", "--devices", "0"], "--devices"),
        (["devices", "--devices", "1", "8", "--embedding_dim", "7"], "--devices 8"),
        (["devices", "--vocab_size", "3"], "--vocab_size 3"),
        (["devices", "--corpus", "not/there.txt"], "--corpus not/there.txt"),
    ],
)
def test_mistakes_are_told_in_one_line(argv, named):
    result = run_module("tests.benchmarks.word2vec", *argv, check=False)
    assert result.returncode == 2
    assert named in result.stderr and result.stderr.count("\n") == 1
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
    assert measurements.reduced_bytes(dataset.manifest, batch_size, optimizer) == counted > 0


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
    assert measurements.device_numbers(asked, num_gpus, cores) == numbers


def test_more_gpus_than_there_are_cannot_be_asked_for():
    with pytest.raises(UserError, match="^--devices 4: TensorFlow finds 2 GPUs .* at most as many$"):
        measurements.device_numbers([1, 4], 2, 64)


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
    found = {figure.name: figure.runs for figure in measurements.scaling(runs, "GPU")}
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

    monkeypatch.setattr(measurements, "run_pipeline", run_pipeline)
    monkeypatch.setattr(measurements, "run_trainer", run_trainer)
    flags = ["--runs", "2", "--epochs", "3", "--embedding_dim", "8", "--trainer_flags=-t", "--pipeline_flags=-p"]
    args = word2vec.parse(["devices", "--corpus", "a.txt", "--devices", "1", "4", *flags])
    args.gpus = ["some GPU"] * 4
    figures, runs = measurements.devices(args, tmp_path)
    trained = [
        ("--epochs=3", "--embedding_dim=8", f"--seed={seed}", f"--devices={n}", "-t", n)
        for seed in (1, 2)
        for n in (1, 4)
    ]
    assert done == [("a.txt", "-p"), *trained]
    assert [run["reduced_bytes_per_step"] > 0 for run in runs] == [False, True] * 2
    assert runs[0]["targets_per_step"] == 3 * 16
    assert list(figures[0].runs) == ["1 x GPU", "4 x GPU"]


def test_devices_are_measured_on_made_up_text(tmp_path):
    output = tmp_path / "figures.json"
    flags = ("--words", "2000", "--vocab_size", "100", "--epochs", "1", "--runs", "1", "--embedding_dim", "8")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    result = run_module(
        "tests.benchmarks.word2vec", "devices", *flags, "--devices", "1", "2", "--output", output, env=environment
    )
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
    first, second, *_ = result.stdout.splitlines()
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
    runs = parts.time_steps(str(dataset_dir), vocab_size, 10 * vocab_size, runs=2)
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
