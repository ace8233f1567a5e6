"""Two runs to one output: one of them makes its dataset, and the other says who has the output."""

import os
import re
import threading
import time

from pipeline.__main__ import main
from pipeline.job import folders, preflight
from pipeline.lock import locked
from tests import forked
from tests.pipeline.helpers import contents, random_text, run_here, shard_contents, write_files

PUBLISHED = ["manifest.json", "skipgrams", "transform_fn", "vocabulary.tsv"]


def arguments(folder, output):
    return ["--input", str(folder / "a.txt"), "--output", str(output), "--num_shards=2", "--subsample=0"]


def test_a_second_run_says_who_has_the_output_and_leaves_the_first_alone(tmp_path, capsys):
    """The first is a real run in a process of its own. The second comes once the first has the lock."""
    write_files(tmp_path, {"a.txt": random_text(1, 20_000)})
    output = tmp_path / "dataset"
    first = forked.server("pipeline").start("-m", "pipeline", *arguments(tmp_path, output))
    deadline = time.monotonic() + 120
    while not (output / ".lock").exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)

    code = main(arguments(tmp_path, output))

    said = capsys.readouterr().err
    assert first.wait(120) == 0
    assert code == 2
    assert re.fullmatch(
        rf"python -m pipeline: --output {output} is in use by process {first.pid} on host .*\n", said
    )  # fmt: skip
    assert sorted(os.listdir(output)) == PUBLISHED
    run_here(*arguments(tmp_path, tmp_path / "alone"))
    assert shard_contents(output) == shard_contents(tmp_path / "alone")


def test_a_dataset_that_came_between_the_check_and_the_lock_is_not_replaced(tmp_path, monkeypatch, capsys):
    write_files(tmp_path, {"a.txt": random_text(1, 2000)})
    output = tmp_path / "dataset"

    def locked_after_another_run(directory, flag):
        write_files(output, {"manifest.json": b"other"})
        return locked(directory, flag)

    monkeypatch.setattr(preflight, "locked", locked_after_another_run)

    assert main(arguments(tmp_path, output)) == 2
    assert "already holds a dataset" in capsys.readouterr().err
    assert contents(output) == {"manifest.json": b"other"}


def test_a_lock_file_is_no_foreign_file(tmp_path):
    write_files(tmp_path, {".lock": b""})

    preflight.check_output(str(tmp_path), overwrite=False)


def test_folders_are_removed_though_threads_still_write_there(tmp_path):
    """As when Ctrl-C ends a run whose workers are threads of the same process."""
    folder, stop = tmp_path / "partial", threading.Event()

    def write():
        for number in range(60):
            folder.mkdir(exist_ok=True)
            try:
                (folder / f"{number}").write_text("x")
            except FileNotFoundError:
                return
            time.sleep(0.002)
        stop.set()

    thread = threading.Thread(target=write)
    thread.start()
    folders.remove_folders_of_threads(str(folder), str(tmp_path / "none"))
    thread.join()

    assert not folder.exists() or stop.is_set()
