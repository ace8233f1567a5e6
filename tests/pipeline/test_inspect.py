"""`python -m pipeline.inspect` prints examples of both formats in words."""

import subprocess
import sys

import pytest

from pipeline.inspect import main
from tests.pipeline.helpers import ROOT, environment, run_here, write_files

SENTENCE = b"The wide road shimmered in the hot sun\n"
FLAGS = ["--min_count=1", "--subsample=0", "--window_size=2", "--no_shrink_windows", "--num_shards=1"]


def inspect(*args):
    return subprocess.run(
        [sys.executable, "-m", "pipeline.inspect", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        timeout=60,
    )


@pytest.fixture(scope="module", params=["blocks", "pairs"])
def dataset(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("inspect")
    write_files(directory, {"a.txt": SENTENCE})
    flags = [*FLAGS, f"--example_format={request.param}"]
    run_here("--input", directory / "a.txt", "--output", directory / "dataset", *flags)
    return request.param, directory / "dataset"


def test_examples_are_told_in_words(dataset):
    example_format, directory = dataset
    done = inspect(directory, "--examples", 26)

    assert done.returncode == 0 and done.stderr == ""
    header, _, *lines = done.stdout.splitlines()
    assert header == f"26 skip-grams in {1 if example_format == 'blocks' else 26} {example_format}, 9 ids"
    if example_format == "blocks":
        # Ties are in descending order: the, wide, sun, shimmered, road, in, hot.
        assert lines[0] == "targets    : [2 3 6 5 7 2 8 4]"
        assert lines[3:6] == ["  the: _ wide road", "  wide: the _ road shimmered", "  road: the wide _ shimmered in"]
    else:
        assert lines[:2] == ["target_index    : 2", "target_word     : the"]
        assert lines[2].startswith("context_indices : [3 ") and lines[3].startswith("context_words   : ['wide', ")
        assert lines[4] == "label           : [1 0 0 0 0 0]"
        assert sum(line.startswith("target_index") for line in lines) == 26


@pytest.mark.parametrize(
    ("args", "message"),
    [(["nowhere"], "nowhere is not a complete dataset"), ([".", "--examples", "0"], "--examples 0"), ([], "DATASET")],
)
def test_a_mistake_is_one_line_and_exit_code_2(args, message, capsys):
    assert main(args) == 2

    told = capsys.readouterr().err
    assert told.startswith("python -m pipeline.inspect: ") and told.count("\n") == 1
    assert message in told
