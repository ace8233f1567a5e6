"""Tests that both programs, with gs:// paths only, make the same files as on a disk.

An emulator stands in for Cloud Storage. The trainer runs as in its image of deploy/vertex: it has what the Dockerfile
installs, except CUDA, and so it has no Beam.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.lock import LOCK_FILE
from tests.catalogue import Catalogue, write, write_files
from tests.conftest import ROOT, run_module
from tests.deploy.dockerfile import copy, instructions
from tests.integration import gcs_emulator
from tests.pipeline.helpers import contents, python

TRAINING = ("--embedding_dim", "16", "--epochs", "6")
VECTORS = ("vectors.bin", "vectors.txt", "vectors.tsv", "metadata.tsv")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A Python with the packages of the trainer's image: a venv in which its Dockerfile was followed."""
    root = tmp_path_factory.mktemp("image")
    venv = ROOT / "build" / "vertex" / "venv"
    if not (venv / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    environment = {**os.environ, "PATH": f"{venv}/bin:{os.environ['PATH']}", "DEVICE": "cpu"}
    commands = []
    for name, words in instructions(ROOT / "deploy" / "vertex" / "Dockerfile"):
        if name == "WORKDIR":
            folder = root / words.lstrip("/")
            folder.mkdir(parents=True)
        elif name == "COPY":
            copy(words, ROOT, folder)
        elif name == "RUN" and not words.startswith("useradd"):
            # The system's packages are those of this machine, which keeps its compiler.
            parts = [part for part in words.split("&&") if not part.strip().startswith(("apt-get", "rm -rf /var/"))]
            subprocess.run(["sh", "-ec", "&&".join(parts)], cwd=folder, env=environment, check=True, timeout=1800)
            commands.append(words)
    assert len(commands) == 3 and "apache_beam" in commands[-1]
    return venv / "bin" / "python"


@pytest.fixture(scope="module")
def storage(tmp_path_factory, dataset_dir):
    """The emulator. It holds the dataset at gs://data/dataset and its text at gs://data/text."""
    with gcs_emulator.running(ROOT / "build" / "gcs", tmp_path_factory.mktemp("storage")) as emulator:
        for bucket in ("data", "models"):
            emulator.make_bucket(bucket)
        emulator.upload(dataset_dir, "data", "dataset")
        emulator.upload(dataset_dir.parent / "text", "data", "text")
        yield emulator


@pytest.fixture(scope="module")
def local_model(tmp_path_factory, dataset_dir):
    """The model that the trainer makes of the dataset on this machine's disk."""
    model = tmp_path_factory.mktemp("local") / "model"
    run_module("trainer.task", "--data", dataset_dir, "--output", model, *TRAINING)
    return model


@dataclasses.dataclass
class Programs:
    """Runs both programs on gs:// paths: the pipeline of this checkout, and the trainer of the image."""

    environment: dict[str, str]
    image: Path
    folder: Path  # a folder outside the checkout

    def start(self, module: str, *args: str) -> subprocess.Popen:
        python, folder = (sys.executable, ROOT) if module == "pipeline" else (self.image, self.folder)
        environment = {**os.environ, **self.environment}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([python, "-m", module, *args], cwd=folder, env=environment, **pipes)

    def run(self, module: str, *args: str, status: int = 0) -> tuple[str, str]:
        """Runs a module to its end. Returns stdout and stderr."""
        with self.start(module, *args) as process:
            try:
                output = process.communicate(timeout=300)
            finally:
                process.kill()
        assert process.returncode == status, f"{module} {args} ended with {process.returncode}:\n{''.join(output)}"
        return output


@pytest.fixture(scope="module")
def programs(storage, image, tmp_path_factory):
    return Programs(storage.environment, image, tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def stored_model(programs):
    """The model that the trainer makes of gs://data/dataset: gs://models/model."""
    programs.run("trainer.task", "--data", "gs://data/dataset", "--output", "gs://models/model", *TRAINING)
    return "gs://models/model"


def vectors(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: files[name] for name in VECTORS}


def test_the_pipeline_makes_the_same_dataset_of_a_bucket_in_a_bucket(storage, programs, dataset_dir):
    local = contents(dataset_dir)
    flags = json.loads(local["manifest.json"])["config"]
    programs.run(
        "pipeline", "--input", "gs://data/text/*.txt", "--output", "gs://data/made_there",
        *(f"--{name}={flags[name]}" for name in ("num_shards", "subsample", "block_targets", "block_negatives")),
    )  # fmt: skip
    stored = storage.contents("data", "made_there")
    assert set(stored) == set(local)  # so there are no temporary files left
    for name in stored:
        if name.startswith("skipgrams/") or name.endswith("vocabulary.tsv"):
            assert stored[name] == local[name], name
    manifests = [json.loads(files["manifest.json"]) for files in (local, stored)]
    for manifest in manifests:
        del manifest["config"]["input"], manifest["config"]["output"]
        manifest["counters"] = {k: v for k, v in manifest["counters"].items() if not k.endswith("_ms")}
    assert manifests[0] == manifests[1]


def test_the_next_dataset_takes_its_vocabulary_from_the_one_it_replaces(storage, programs, dataset_dir, tmp_path):
    storage.upload(dataset_dir, "data", "nightly")
    flags = ["--grow_vocabulary", "--min_count", "1", "--holdout", "0.2", "--num_shards", "2", "--subsample", "0"]
    flags += ["--tokenizer", json.loads((dataset_dir / "manifest.json").read_text())["config"]["tokenizer"]]
    text, local = dataset_dir.parent / "text" / "*.txt", tmp_path / "dataset"
    run_module("pipeline", "--input", text, "--output", local, "--vocabulary", dataset_dir, *flags)
    programs.run(
        "pipeline", "--input", "gs://data/text/*.txt", "--output", "gs://data/nightly", "--overwrite",
        "--vocabulary", "gs://data/nightly", *flags,
    )  # fmt: skip
    expected, stored = contents(local), storage.contents("data", "nightly")
    assert set(stored) == set(expected)
    names = [name for name in stored if name.startswith(("skipgrams/", "holdout/")) or name.endswith("vocabulary.tsv")]
    assert len(names) == 6
    assert [name for name in names if stored[name] != expected[name]] == []


def test_the_pipeline_reads_tables_of_a_bucket_as_those_of_a_disk(storage, tmp_path):
    """Parquet files of several row groups, and small ones in folders."""
    (tmp_path / "text").mkdir()
    write(Catalogue(num_items=1000), tmp_path / "text" / "large.parquet", 120_000)
    write_files(Catalogue(), tmp_path / "text" / "day=1", 2000, 2, "parquet", seed=1)
    storage.upload(tmp_path / "text", "data", "tables")
    environment = {**os.environ, **storage.environment}
    flags = ("--column", "items", "--tokenizer", "whitespace", "--num_shards", "3", "--output")
    for folder, output in (("gs://data/tables", "gs://data/of_tables"), (tmp_path / "text", tmp_path / "made")):
        patterns = (f"{folder}/*.parquet", f"{folder}/day=*/*")
        command = [sys.executable, "-m", "pipeline", "--input", *patterns, *flags, output]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=300)

    stored, local = storage.contents("data", "of_tables"), contents(tmp_path / "made")
    names = [name for name in local if name.startswith("skipgrams/") or name == "vocabulary.tsv"]
    assert len(names) == 4 and {name: stored[name] for name in names} == {name: local[name] for name in names}


def test_the_trainer_makes_the_same_model_of_a_bucket_in_a_bucket(storage, stored_model, local_model):
    local, stored = contents(local_model), storage.contents("models", "model")
    assert vectors(stored) == vectors(local)
    assert {name.partition("/")[0] for name in stored} == {name.partition("/")[0] for name in local}
    assert "Map of the words" in stored["report.html"].decode()
    assert any(name.startswith("logs/projector-") and name.endswith("/projector_config.pbtxt") for name in stored)
    losses = [json.loads(files["metrics.json"])["loss"] for files in (local, stored)]
    assert len(losses[0]) == 6 and losses[0] == losses[1]


def test_the_model_in_a_bucket_is_read_from_there(storage, programs, stored_model, local_model, tmp_path):
    (tmp_path / "pairs.tsv").write_text("cat\tdog\t9\nred\tone\t1\nred\tblue\t8\ncat\tmother\t2\n")
    storage.upload(tmp_path, "data", "tests")
    words = ("--top", "3", "cat", "-", "dog", "+", "red")
    neighbours, _ = programs.run("trainer.neighbors", "--vectors", f"{stored_model}/vectors.bin", *words)
    assert neighbours == run_module("trainer.neighbors", "--vectors", local_model / "vectors.bin", *words).stdout
    pairs = ("--word_pairs", "gs://data/tests/pairs.tsv")
    scores, _ = programs.run("trainer.evaluate", "--vectors", f"{stored_model}/vectors.txt", *pairs)
    assert "4 scored" in scores

    script = """
import sys, tensorflow as tf
model = tf.saved_model.load(sys.argv[1] + "/saved_model")
found = model.signatures["nearest"](words=tf.constant(["cat"]), k=tf.constant(3))
print(b" ".join(found["words"].numpy()[0]).decode())
(log,) = tf.io.gfile.glob(sys.argv[1] + "/logs/events*")
events = (tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(log))
print(sum(value.tag == "loss" for event in events for value in event.summary.value) >= 6)
"""
    assert python(script, stored_model, **storage.environment) == python(script, local_model)


def test_a_run_that_dies_leaves_the_old_model_and_goes_on_from_the_checkpoint_in_the_bucket(
    storage, programs, stored_model, local_model, tmp_path
):
    before = storage.contents("models", "model")
    args = ("--data", "gs://data/dataset", "--output", stored_model, *TRAINING)
    process = programs.start("trainer.task", *args, "--overwrite")
    try:
        deadline = time.monotonic() + 240
        while "model/checkpoints/ckpt-2.index" not in storage.names("models", "model/checkpoints/"):
            assert process.poll() is None and time.monotonic() < deadline, "no second checkpoint"
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
    after = storage.contents("models", "model")
    for name in (*VECTORS, "metrics.json", "saved_model/saved_model.pb"):
        assert after[name] == before[name], name

    _, refusal = programs.run("trainer.task", *args, status=2)
    assert f"is in use by process {process.pid}" in refusal  # until its lease is two minutes old
    (tmp_path / LOCK_FILE).write_text(json.dumps({**json.loads(after[LOCK_FILE]), "renewed": time.time() - 121}))
    storage.upload(tmp_path, "models", "model")
    _, refusal = programs.run("trainer.task", *args, status=2)
    assert "--resume" in refusal and "Traceback" not in refusal
    _, news = programs.run("trainer.task", *args, "--resume")
    assert "going on from epoch" in news
    stored = storage.contents("models", "model")
    assert vectors(stored) == vectors(contents(local_model))
    assert not [name for name in stored if name.startswith("checkpoints/") or ".tmp" in name]


@pytest.mark.parametrize(
    "module, args, expected",
    [
        ("trainer.task", ("--data", "gs://data/none", "--output", "gs://models/new"), "--data gs://data/none"),
        (
            "trainer.task",
            ("--data", "gs://data/dataset", "--output", "gs://absent/model"),
            "--output gs://absent/model",
        ),
        ("trainer.neighbors", ("--vectors", "gs://models/none/vectors.bin", "cat"), "gs://models/none/vectors.bin"),
        ("pipeline", ("--input", "gs://data/none/*", "--output", "gs://data/new"), "--input gs://data/none/*"),
        ("pipeline", ("--input", "gs://data/text/*", "--output", "gs://absent/new"), "--output gs://absent/new"),
    ],
)
def test_a_path_that_is_not_there_is_told_in_one_line(programs, module, args, expected):
    _, told = programs.run(module, *args, status=2)
    (line,) = (line for line in told.splitlines() if line.startswith(f"python -m {module}: "))
    assert expected in line and "Traceback" not in told
