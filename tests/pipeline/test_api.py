"""The pipeline as a library: BuildDataset in programs of others."""

import dataclasses
import shlex
import subprocess
import sys
import threading
import time

import apache_beam as beam
import grpc
import psutil
import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.pipeline import PipelineVisitor
from apache_beam.testing.util import assert_that, equal_to

import pipeline
from pipeline import BuildDataset, PipelineConfig, UserError, worker
from pipeline.job import local_runner
from pipeline.job.preflight import pipeline_options
from tests.bystander import run_beside_bystander
from tests.pipeline.helpers import (
    contents,
    environment,
    python,
    random_text,
    read_manifest,
    read_vocabulary,
    run_here,
    shard_contents,
    write_files,
)

# A program whose own flags have the names of ours, as those of many Beam programs.
PROGRAM = """
import sys
import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from pipeline import BuildDataset, PipelineConfig

class OwnOptions(PipelineOptions):
    @classmethod
    def _add_argparse_args(cls, parser):
        parser.add_argument("--input")
        parser.add_argument("--output", default="elsewhere")

config = PipelineConfig(input=(sys.argv[1],), output=sys.argv[2], num_shards=2, min_count=2, seed=3)
options = PipelineOptions(["--runner=FnApiRunner", "--input=own"])
with beam.Pipeline(options=options) as pipeline:
    pipeline | BuildDataset(config)

from apache_beam.runners.worker import sdk_worker
assert "print" not in vars(sdk_worker)
"""


@pytest.fixture
def corpus(tmp_path):
    return write_files(tmp_path, {"text.txt": random_text(1, 20_000)}) / "text.txt"


def build(config: PipelineConfig) -> None:
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as p:
        assert_that(p | BuildDataset(config), equal_to([f"{config.output}/manifest.json"]))


def test_a_program_makes_the_commands_dataset_and_is_not_disturbed(corpus, tmp_path):
    done = run_beside_bystander(PROGRAM, tmp_path, corpus, tmp_path / "library", env=environment())

    run_here("--input", corpus, "--output", tmp_path / "command", "--num_shards=2", "--min_count=2", "--seed=3")
    assert done.stdout == ""
    assert shard_contents(tmp_path / "library") == shard_contents(tmp_path / "command") != {}
    assert read_vocabulary(tmp_path / "library") == read_vocabulary(tmp_path / "command")
    described, expected = read_manifest(tmp_path / "library"), read_manifest(tmp_path / "command")
    assert described.pop("config") == {**expected.pop("config"), "output": str(tmp_path / "library")}
    assert described == expected
    assert set(contents(tmp_path / "library")) == set(contents(tmp_path / "command"))


def test_an_input_that_is_not_there_is_told_as_the_pipeline_is_built(tmp_path):
    config = PipelineConfig(input=(f"{tmp_path}/none.txt",), output=str(tmp_path / "dataset"))

    with pytest.raises(UserError, match=f"^--input {tmp_path}/none.txt matches no file$"):
        beam.Pipeline() | BuildDataset(config)


def test_a_dataset_is_replaced_only_if_it_may_be(corpus, tmp_path):
    config = PipelineConfig(input=(str(corpus),), output=str(tmp_path / "dataset"))
    write_files(tmp_path / "dataset", {"manifest.json": b"{}", "skipgrams/old.tfrecord": b"x"})

    with pytest.raises(UserError, match="already holds a dataset"):
        beam.Pipeline() | BuildDataset(config)
    build(dataclasses.replace(config, num_shards=2, overwrite=True))

    assert len(shard_contents(tmp_path / "dataset")) == 2


def test_a_failed_job_leaves_its_partial_folder_which_the_next_one_removes(corpus, tmp_path):
    config = PipelineConfig(input=(str(corpus),), output=str(tmp_path / "dataset"), subsample=1e-12)

    with pytest.raises(Exception, match="--input gives no skip-gram"):
        build(config)
    left = {path.name for path in (tmp_path / "dataset").iterdir()}
    build(dataclasses.replace(config, subsample=0))

    assert len(left) == 1 and left.pop().startswith(".partial-")
    assert {path.name for path in (tmp_path / "dataset").iterdir()} == {
        "manifest.json", "skipgrams", "transform_fn", "vocabulary.tsv",
    }  # fmt: skip


def test_each_object_has_a_partial_folder_of_its_own_that_does_not_depend_on_the_working_directory(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = PipelineConfig(input=("text.txt",), output="dataset")

    folders = {BuildDataset(config).partial for _ in range(3)}

    assert len(folders) == 3
    assert all(folder.startswith(f"{tmp_path}/dataset/.partial-") for folder in folders)


def test_the_package_has_these_names_and_no_others():
    assert {"BuildDataset", "PipelineConfig", "UserError"} == set(pipeline.__all__) <= set(dir(pipeline))
    with pytest.raises(AttributeError, match="module 'pipeline' has no attribute 'Builddataset'"):
        _ = pipeline.Builddataset


# Worker processes


def test_importing_a_step_changes_nothing_in_a_process_that_is_no_worker():
    script = "import sys, pipeline.worker; print('apache_beam' in sys.modules, 'tensorflow' in sys.modules)"

    assert python(script) == "False False\n"


@pytest.mark.parametrize(
    "command_line, is_worker",
    [
        ("python -m apache_beam.runners.worker.sdk_worker_main", True),
        ("python -m pipeline.worker 123", True),
        ("python -c 'from apache_beam.runners.worker.sdk_worker import SdkHarness; SdkHarness().run()'", True),
        ("python -m pipeline --input apache_beam.runners.worker.txt", False),
        ("python -m ipykernel_launcher -f kernel.json", False),
        ("python", False),
    ],
)
def test_worker_processes_are_told_from_others(command_line, is_worker, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", shlex.split(command_line))

    assert worker.is_worker_process() == is_worker


def test_a_worker_process_prints_nothing_of_its_own():
    """Neither does TensorFlow greet it, nor does Beam print the tracebacks that it logs."""
    script = "import apache_beam.runners.worker.sdk_worker as beam, pipeline.text.files; beam.print('traceback')"

    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("", "")


LAUNCHER = """
import os, subprocess, sys, time
script = "import os; from pipeline import worker; print(os.getpid(), flush=True); worker._end_after({})"
subprocess.Popen([sys.executable, "-c", script.format(os.getpid())])
time.sleep(60)
"""


def test_a_worker_process_ends_within_a_second_after_its_launcher_was_killed():
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER], env=environment(), stdout=subprocess.PIPE, text=True
    ) as launcher:  # fmt: skip
        assert psutil.Process(int(launcher.stdout.readline())).is_running()
        launcher.kill()
        killed = time.monotonic()

        assert launcher.stdout.read() == ""  # it ends when the worker has ended, which has this pipe, too
        assert time.monotonic() - killed < 1


def test_a_worker_process_that_has_ended_too_early_is_told_in_one_line(monkeypatch):
    """Beam says only that a channel was closed, and its threads print tracebacks of the connection."""
    printed = []
    monkeypatch.setattr(threading, "excepthook", printed.append)

    def run(self, proto, options):
        for name, error in (("run_worker", RuntimeError()), ("beam_control_read", grpc.RpcError()), ("x", KeyError())):
            args = [type(error), error, None, threading.Thread(name=name)]
            threading.excepthook(threading.ExceptHookArgs(args))
        raise RuntimeError("Channel closed prematurely.")

    monkeypatch.setattr(local_runner.FnApiRunner, "run_via_runner_api", run)
    with pytest.raises(UserError, match="^a worker process has ended .* lower --direct_num_workers$"):
        beam.Pipeline(runner=local_runner.LocalRunner()).run()

    assert [args.exc_type for args in printed] == [KeyError]


# Memory


@pytest.mark.parametrize(
    ("flags", "limit", "message"),
    [
        (
            "",
            2_000_000,
            "the pipeline needs 4.3 GB of addresses for memory, but ulimit -v allows 2.0 GB: "
            "expected ulimit -v 4300000 or more",
        ),
        ("--runner=FnApiRunner", 500_000, "the pipeline needs"),
    ],
)
def test_too_little_memory_is_told_before_anything_large_is_loaded(flags, limit, message, tmp_path):
    """Otherwise TensorFlow aborts the process, or hangs. Beam's flags load Beam, too."""
    command_line = f"ulimit -v {limit}; {sys.executable} -m pipeline --input x --output {tmp_path}/dataset {flags}"

    done = subprocess.run(
        ["bash", "-c", command_line], env=environment(), capture_output=True, text=True, timeout=60
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"python -m pipeline: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("cores", "text_bytes", "memory_bytes", "flags", "expected"),
    [
        (8, 10**9, 10**11, [], ("multi_processing", 8)),
        (64, 10**10, 10**11, [], ("multi_processing", 16)),  # there are 16 shards
        (8, 40 << 20, 10**11, [], ("multi_processing", 2)),
        (8, 20 << 20, 10**11, [], ("in_memory", 1)),
        (8, 0, 10**11, [], ("in_memory", 1)),
        (1, 10**9, 10**11, [], ("in_memory", 1)),
        (8, 10**9, 1_500_000_000, [], ("multi_processing", 2)),
        (8, 10**9, 500_000_000, [], ("in_memory", 1)),
        (8, 10**9, 10**11, ["--direct_num_workers=3"], ("multi_processing", 3)),
        (8, 10**9, 10**11, ["--direct_num_workers", "1"], ("in_memory", 1)),
        (8, 10**9, 10**11, ["--direct_running_mode=multi_threading"], ("multi_threading", 1)),
        (8, 10**9, 10**11, ["--direct_running_mode", "in_memory"], ("in_memory", 1)),
    ],
)
def test_a_large_text_gets_a_worker_process_for_each_core(
    cores, text_bytes, memory_bytes, flags, expected, monkeypatch, tmp_path
):
    """Unless Beam's flags say otherwise, memory is short, or each would get little text."""
    with (tmp_path / "text.txt").open("wb") as file:
        file.truncate(text_bytes)
    monkeypatch.setattr(local_runner.forks, "is_ready", lambda: True)
    monkeypatch.setattr(local_runner.limits, "available_bytes", lambda: (memory_bytes, "machine"))
    monkeypatch.setattr(local_runner.limits, "num_cores", lambda: cores)
    config = PipelineConfig(input=(str(tmp_path / "*"),), output="y")
    options = pipeline_options(flags, config)

    local_runner.choose_workers(options, flags, config, text_bytes)

    direct = options.view_as(DirectOptions)
    assert (direct.direct_running_mode, direct.direct_num_workers) == expected


def test_a_process_that_may_not_be_copied_has_one_worker():
    config = PipelineConfig(input=("no such file",), output="y")
    options = pipeline_options([], config)

    local_runner.choose_workers(options, [], config, 1 << 30)

    assert options.view_as(DirectOptions).direct_running_mode == "in_memory"


def test_no_worker_loads_the_vocabulary_while_the_transform_graph_is_made(corpus, tmp_path):
    """A table that another thread makes then would be taken for one of the graph."""
    needs = {}

    class Collect(PipelineVisitor):
        def visit_transform(self, step):
            sources = [*step.inputs, *(side.pvalue for side in step.side_inputs)]
            needs[step.full_label] = [source.producer.full_label for source in sources if source.producer]

    job = beam.Pipeline()
    job | BuildDataset(PipelineConfig(input=(str(corpus),), output=str(tmp_path / "dataset")))
    job.visit(Collect())

    before, found = [label for label in needs if label.endswith("/SkipGrams/Write")], set()
    while before:
        if (label := before.pop()) not in found:
            found.add(label)
            before += needs.get(label, [])
    assert any("/Vocabulary/" in label for label in found)
    assert any("/TransformGraph/" in label for label in found)
