"""Tests that Prism, Beam's local runner in Go, makes the same datasets as Beam's Python runner."""

import re

import pytest

from pipeline.dataset.read import read_manifest
from pipeline.job.summary import summary
from tests.integration.helpers import (
    NO_WORDS,
    assert_same_dataset,
    beam_program,
    job,
    make_locally,
    write_corpus,
)
from tests.pipeline.helpers import command, contents, write_files


@pytest.fixture(scope="module")
def flags():
    return "--runner=PrismRunner", f"--prism_location={beam_program('prism')}"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def done(flags, corpus, tmp_path_factory):
    """A run on Prism, and the dataset that it made."""
    dataset = tmp_path_factory.mktemp("prism")
    done = command(*job(corpus, dataset, *flags))
    assert done.returncode == 0, done.stderr
    return done, dataset


def test_the_dataset_is_the_local_runs(done, corpus, tmp_path):
    _, dataset = done
    assert_same_dataset(dataset, make_locally(corpus, tmp_path))


def test_the_summary_has_the_workers_times(done):
    """The launcher computes these times from the runner's counters."""
    run, dataset = done
    (time,) = re.findall(r"^time .*", run.stdout, re.MULTILINE)
    assert re.search(r" vocabulary [\d.]+ worker-s", time) and re.search(r" examples [\d.]+ worker-s", time)
    expected = summary(read_manifest(str(dataset)), str(dataset), {}, 0).splitlines()
    assert [line for line in run.stdout.splitlines() if not line.startswith("time")] == [
        line for line in expected if not line.startswith("time")
    ]


def test_a_mistake_that_a_worker_finds_is_told_in_one_line(flags, tmp_path):
    write_files(tmp_path, {"a.txt": b"\n \n ... \n"})

    done = command("--input", tmp_path / "a.txt", "--output", tmp_path / "dataset", *flags)

    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [f"python -m pipeline: {NO_WORDS}"], done.stderr
    assert done.stdout == ""
    assert contents(tmp_path / "dataset") == {}
