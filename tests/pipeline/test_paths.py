"""Paths with letters beyond ASCII, spaces, quotes, brackets and line ends, wherever the pipeline reads or writes."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from apache_beam.runners import create_runner

from pipeline import inspect, worker
from pipeline.__main__ import main
from pipeline.errors import UserError
from pipeline.job import folders
from tests.pipeline.helpers import command, contents, random_text, shard_contents, write_files

ODD = 'ü 語 it\'s "q" [v2] *?\\ a\nb'
FLAGS = ("--num_shards=2", "--subsample=0")
PUBLISHED = ["manifest.json", "skipgrams", "transform_fn", "vocabulary.tsv"]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The directory for temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_an_odd_output_holds_the_dataset_that_a_plain_one_holds(tmp_path, temporary, capsys):
    write_files(tmp_path / ODD, {f"{ODD}.txt": random_text(1, 4000)})
    for name in ("plain", ODD):
        arguments = ["--input", str(tmp_path / ODD / f"{ODD}.txt"), "--output", str(tmp_path / name / "dataset")]
        assert main([*arguments, *FLAGS]) == 0, capsys.readouterr().err
    plain, odd = (tmp_path / name / "dataset" for name in ("plain", ODD))

    assert sorted(os.listdir(odd)) == PUBLISHED
    assert set(contents(odd)) == set(contents(plain))
    assert (odd / "vocabulary.tsv").read_bytes() == (plain / "vocabulary.tsv").read_bytes()
    assert shard_contents(odd) == shard_contents(plain) != {}
    assert [*temporary.glob("word2vec-*")] == []
    capsys.readouterr()
    assert inspect.main([str(odd), "--examples=1"]) == 0
    assert "skip-grams in" in capsys.readouterr().out


def test_a_failed_job_leaves_nothing_among_the_temporary_files(tmp_path, temporary):
    write_files(tmp_path / "ü", {"a.txt": b"a b c\n"})

    assert main(["--input", str(tmp_path / "ü" / "a.txt"), "--output", str(tmp_path / "ü" / "dataset")]) == 1

    assert os.listdir(tmp_path / "ü" / "dataset") == []
    assert [*temporary.glob("word2vec-*")] == []


def test_a_command_in_the_c_locale_with_an_odd_home(tmp_path):
    """TensorFlow and Beam get a working directory, a home and a directory for temporary files that are odd."""
    home = tmp_path / "ü 語 'q'"
    write_files(home, {"ä.txt": random_text(1, 4000)})
    (home / "tmp").mkdir()
    output = home / "[v2] ü"

    done = command(
        "--input", home / "ä.txt", "--output", output, *FLAGS,
        is_new=True, LC_ALL="C", HOME=str(home), TMPDIR=str(home / "tmp"),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(output)) == PUBLISHED


def test_the_next_run_removes_the_temporary_folders_of_runs_that_died(tmp_path, temporary):
    output = tmp_path / "ü"
    (output / ".partial-died").mkdir(parents=True)
    died, own = (folders.make_analysis_folder(str(output / name)) for name in (".partial-died", ".partial-own"))
    other = folders.make_analysis_folder(str(tmp_path / "ö" / ".partial-x"))

    folders.remove_all_of(str(output), own)

    assert {Path(path).exists() for path in (died, own)} == {False}
    assert Path(other).exists()
    assert os.listdir(output) == []


def test_a_plain_output_needs_no_other_folder(temporary):
    assert folders.make_analysis_folder("/data/a b/.partial-1") == "/data/a b/.partial-1/analysis"
    assert os.listdir(temporary) == []


def test_an_odd_directory_for_temporary_files_is_passed_over(tmp_path, monkeypatch):
    odd, plain = tmp_path / "tmp ü", tmp_path / "var"
    odd.mkdir()
    plain.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    monkeypatch.setattr(folders, "_TEMPORARY", (f"{tmp_path}/none", str(plain)))

    assert Path(folders.make_analysis_folder("/ü/.partial-1")).parent == plain
    shutil.rmtree(plain)
    with pytest.raises(UserError, match=f"^TMPDIR is {odd}: expected a directory that can be written to"):
        folders.make_analysis_folder("/ü/.partial-1")


@pytest.mark.parametrize(
    ("output", "runner", "is_refused"),
    [
        ("gs://bucket/ü", "FnApiRunner", True),
        ("gs://bucket/a b", "FnApiRunner", False),
        ("/ü", "FnApiRunner", False),
        ("/ü", "PortableRunner", True),
        ("/[v2]", "FlinkRunner", True),
        ("/a b", "FlinkRunner", False),
    ],
)
def test_an_odd_output_is_refused_where_several_machines_write_to_it(output, runner, is_refused):
    if is_refused:
        with pytest.raises(UserError, match="^--output .* has characters that TensorFlow cannot use"):
            folders.check_plain(output, create_runner(runner))
    else:
        folders.check_plain(output, create_runner(runner))


@pytest.mark.parametrize("flag", ["--input", "--output"])
def test_a_path_that_is_not_utf_8_is_refused_in_one_line(flag, tmp_path, capsys):
    write_files(tmp_path, {"a.txt": b"a b\n"})
    paths = {"--input": str(tmp_path / "a.txt"), "--output": str(tmp_path / "dataset")}
    paths[flag] = os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff.txt")

    assert main([item for pair in paths.items() for item in pair]) == 2

    assert capsys.readouterr().err == f"python -m pipeline: {flag} {paths[flag]!a}: expected a path in UTF-8\n"


def test_a_worker_starts_from_an_odd_path(tmp_path, monkeypatch):
    """The shell starts the interpreter, whose path may have spaces. It ignores Ctrl-C, and has the launcher's id."""
    python = tmp_path / "it's ü [v2]"
    python.write_text(
        f"#!{sys.executable} -S\nimport signal, sys\nprint(signal.getsignal(signal.SIGINT).name, *sys.argv[1:])\n"
    )
    python.chmod(0o755)
    monkeypatch.setattr(worker.sys, "executable", str(python))

    with os.popen(worker.worker_command()) as process:
        assert process.read() == f"SIG_IGN -m pipeline.worker {os.getpid()}\n"
