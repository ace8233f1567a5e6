"""What is told of a job's progress: the sums, the times, and the bar on a terminal."""

import itertools
import logging
import os
import random
import re
import threading
import time

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as pq

from pipeline import progress
from pipeline.config import PipelineConfig
from pipeline.job.stages import Stage, Tracker, View, bar_line, clock, ended_line, log_line, stages_of
from pipeline.text import files, parquet
from pipeline.text.inputs import find_files
from pipeline.text.sources import Source
from tests import forked
from tests.pipeline.helpers import deterministic, environment, random_text, write_files
from tests.terminal import Terminal, matches, run_script

MEGABYTE = 1_000_000
COUNTING, WRITING = Stage(progress.COUNTING, "adding up counts"), Stage(progress.EXAMPLES, "completing", walks=2)


# The sizes of ranges


def table_of(path, row_group_size):
    rows = [[f"w{row % 97}", "b", "c"] for row in range(5000)]
    pq.write_table(pyarrow.table({"items": rows, "other": range(len(rows))}), path, row_group_size=row_group_size)


@pytest.mark.parametrize("kind", ["plain", "small", "compressed", "parquet", "parts", "small parquet"])
def test_all_of_the_input_is_done_in_the_end(kind, tmp_path, monkeypatch):
    """Whatever it is read as. Of a file that takes long, parts are told on the way."""
    text = random_text(3, 300_000)
    monkeypatch.setattr(files, "TEXT_BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr("pipeline.text.lines.TEXT_BLOCK_BYTES", 1 << 11)
    source = Source()
    if kind == "plain":
        write_files(tmp_path, {"a.txt": text, "b.txt": b"\xef\xbb\xbfone\r\n\xff\0" * 20_000 + b"no end"})
    elif kind == "small":
        write_files(tmp_path, {f"{number}.txt": text[: number * 100] for number in range(1, 40)})
    elif kind == "compressed":
        write_files(tmp_path, {f"a.{ending}": text for ending in ("gz", "bz2", "xz", "zst")})
    else:
        source = Source("auto", "items")
        monkeypatch.setattr(parquet, "_MOST_ROWS_OF_BATCH", 100)
        monkeypatch.setattr(parquet, "TEXT_BLOCK_BYTES", 1 << 14)
        if kind == "parts":
            monkeypatch.setattr(parquet, "_TEXT_OF_PART", 1 << 14)
        if kind == "small parquet":
            monkeypatch.setattr(files, "TEXT_BLOCK_BYTES", 1 << 24)
        table_of(tmp_path / "a.parquet", 5000 if kind == "parts" else 700)
    found = [(file.path, file.size) for file in find_files([f"{tmp_path}/*"])]
    large = itertools.chain(*(files.file_ranges(*file, "", source) for file in found if not files.is_small(file[1])))
    ranges = [*large, *files.group_ranges([file for file in found if files.is_small(file[1])], "", source)]

    told = [[] for _ in ranges]
    for text_range, amounts in zip(ranges, told, strict=True):
        for _ in files.read_range(text_range, amounts.append):
            pass

    assert [sum(amounts) for amounts in told] == [text_range.size for text_range in ranges]
    assert sum(text_range.size for text_range in ranges) == sum(size for _, size in found)
    assert all(amount > 0 for amounts in told for amount in amounts)
    if kind in ("parquet", "parts"):
        assert len(ranges) > 1 and max(map(len, told)) > 1


def test_a_compressed_file_is_told_in_parts(tmp_path):
    draws = random.Random(4)
    text = b"".join(b"%b\n" % draws.randbytes(40).hex().encode() for _ in range(80_000))
    write_files(tmp_path, {"a.gz": text})
    (text_range,) = files.file_ranges(str(tmp_path / "a.gz"), (tmp_path / "a.gz").stat().st_size, "")

    amounts = []
    for _ in files.read_range(text_range, amounts.append):
        pass

    assert len(amounts) > 4 and max(amounts) < text_range.size / 3


# The board


def test_workers_of_all_kinds_add_to_the_sums():
    """Copies of the process, and threads of one process."""
    stages = (progress.COUNTING, progress.EXAMPLES)
    assert progress.board() is None
    with progress.shared_board(stages):
        board = progress.board()
        for number in (1, 2, 1025):
            if not (child := os.fork()):
                board.be_worker(number)
                worker = progress.Progress(progress.EXAMPLES)
                for _ in range(1000):
                    worker.add(7)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0

        def add():
            worker = progress.Progress(progress.COUNTING)
            for _ in range(1000):
                worker.add(3)

        threads = [threading.Thread(target=add) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert board.amounts() == [4 * 3000, 3 * 7000]
    assert progress.board() is None


def test_a_worker_without_a_board_logs_a_line_now_and_then(caplog, monkeypatch):
    now = iter([0.0, *range(30), *range(30)])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now) * 1.0)
    caplog.set_level(logging.INFO, "pipeline")
    worker = progress.Progress("counting words")
    for _ in range(25):
        worker.add(MEGABYTE)

    assert 1 <= len(caplog.messages) <= 3
    assert re.fullmatch(r"counting words: \d+ MB done by this worker", caplog.messages[0])


# The stages


def test_a_stage_begins_when_something_of_it_is_done():
    tracker = Tracker([COUNTING, WRITING], 100 * MEGABYTE, 0.0)
    assert tracker.update([0, 0], 1.0) is None and tracker.view() is None
    assert tracker.update([MEGABYTE, 0], 2.0) is None
    assert tracker.view() == View(COUNTING, MEGABYTE, 100 * MEGABYTE, 2.0, 0.0)
    tracker.update([100 * MEGABYTE, 0], 12.0)
    assert tracker.view().is_read and tracker.view().percent == 100

    ended = tracker.update([100 * MEGABYTE, 50 * MEGABYTE], 20.0)

    assert ended.stage == COUNTING and ended_line(ended) == "counting words: 100 MB in 0:20"
    assert tracker.view() == View(WRITING, 50 * MEGABYTE, 200 * MEGABYTE, 0.0, 0.0)
    assert tracker.view().percent == 25


def test_the_time_left_goes_by_the_last_seconds_and_is_told_once_it_is_known():
    """A first block, which takes longer because everything starts, does not count."""
    tracker = Tracker([COUNTING], 1000 * MEGABYTE, 0.0)
    for second in range(5):
        tracker.update([0], second)
    tracker.update([MEGABYTE], 5.0)
    assert tracker.view().seconds_left is None
    tracker.update([5 * MEGABYTE], 5.5)
    assert tracker.view().seconds_left is None
    for second in range(1, 21):
        tracker.update([MEGABYTE + second * 10 * MEGABYTE], 5.0 + second)
        assert tracker.view().rate == pytest.approx(10 * MEGABYTE)
        assert tracker.view().seconds_left == pytest.approx((999 - second * 10) / 10)
    for second in range(1, 41):  # it is slower now
        tracker.update([201 * MEGABYTE + second * MEGABYTE], 25.0 + second)
    assert tracker.view().rate == pytest.approx(MEGABYTE)


def test_what_is_done_twice_is_no_more_than_all():
    tracker = Tracker([COUNTING], 10 * MEGABYTE, 0.0)
    tracker.update([12 * MEGABYTE], 1.0)
    assert tracker.view().percent == 100 and tracker.view().done == 10 * MEGABYTE


def test_no_share_is_told_of_an_unknown_total():
    tracker = Tracker([COUNTING], 0, 0.0)
    tracker.update([MEGABYTE], 1.0)
    tracker.update([41 * MEGABYTE], 5.0)
    view = tracker.view()
    assert (view.percent, view.seconds_left, view.is_read) == (None, None, False)
    assert log_line(view) == "counting words 41.0 MB, 10.0 MB/s"
    assert bar_line(view, 60) == ("counting words  41.0 MB  10.0 MB/s  0:05", 0, "")


def test_the_stages_of_a_job():
    def titles(**settings):
        return [stage.title for stage in stages_of(PipelineConfig(input=("x",), output="y", **settings))]

    assert titles() == ["counting words", "writing examples"]
    assert titles(phrases=1)[0] == "learning phrases"
    assert titles(phrases=2)[:2] == ["learning phrases, round 1 of 2", "learning phrases, round 2 of 2"]
    assert stages_of(PipelineConfig(input=("x",), output="y", passes=3))[-1].walks == 3


# Text


@pytest.mark.parametrize(
    ("done", "total", "rate", "expected"),
    [
        (120e6, 351e6, 12.3e6, "writing 34 % 120 of 351 MB, 12.3 MB/s, 0:19 left"),
        (1_204e6, 5_310e6, 0, "writing 22 % 1,204 of 5,310 MB"),
        (1_250e3, 5_000e3, 1e5, "writing 25 % 1.2 of 5.0 MB, 0.1 MB/s, 0:38 left"),
        (20e3, 30e3, 0, "writing 66 % 20.0 of 30.0 kB"),
        (10, 39, 0, "writing 25 % 10 of 39 bytes"),
        (351e6, 351e6, 5e6, "writing 100 % 351 of 351 MB, finishing"),
    ],
)
def test_a_line_of_a_log(done, total, rate, expected):
    assert log_line(View(Stage("writing", "finishing"), int(done), int(total), 10.0, rate)) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3754, "1:02:34")])
def test_a_time(seconds, expected):
    assert clock(seconds) == expected


@deterministic
@given(
    width=st.integers(1, 200),
    done=st.integers(1, 10**13),
    total=st.integers(0, 10**13),
    rate=st.sampled_from([0.0, 1.0, 1e6, 3e9]),
    title=st.sampled_from(["counting words", "learning phrases, round 1 of 2"]),
)
def test_a_line_of_a_terminal_fits(width, done, total, rate, title):
    view = View(Stage(title, "adding up counts"), min(done, total) if total else done, total, 12.0, rate)
    before, bar, behind = bar_line(view, width)
    assert len(before) + bar + len(behind) <= width
    assert bar == 0 or bar >= 6
    assert bar == 0 or (f"{view.percent:3} %" in behind and total)
    if width >= 140:
        assert "0:12" in before + behind and (bar == 40 or not total)


def test_a_narrow_terminal_shows_the_most_important():
    view = View(COUNTING, 34 * MEGABYTE, 100 * MEGABYTE, 5.0, 6.6 * MEGABYTE)
    shown = {width: bar_line(view, width) for width in (110, 60, 50, 39, 30, 19, 10)}
    assert shown[110] == ("counting words ", 40, "  34 %  34 of 100 MB  6.6 MB/s  0:05  0:10 left")
    assert shown[60][1] >= 6 and shown[60][2].endswith(" 34 %  34 of 100 MB  0:10 left")
    assert shown[39] == ("counting words ", 6, "  34 %  0:10 left")
    assert shown[30][0] == "counting words   34 %" and shown[19][0] == "counting words   34"


# The terminal

SCRIPT = """
import logging, os, sys, threading, time
from pipeline import __main__, interrupt, progress
from pipeline.config import PipelineConfig
from pipeline.job import display
display._Bar.seconds_between = display._Lines.seconds_between = 0.01
display._SECONDS_BETWEEN_LINES = float(sys.argv[1])
interrupt.install("program", "run it again")
__main__._prepare_logging(quiet=False)
config = PipelineConfig(input=("x",), output="y")
def go(stage, shares=10):
    for _ in range(shares):
        progress.board().add(stage, 8_000_000)
        time.sleep(0.02)
with progress.shared_board(["counting words", "writing examples"]), display.showing_progress(config, 80_000_000):
    go("counting words")
    go("writing examples", 5)
    BODY
    go("writing examples", 5)
sys.stdout.write("the summary\\n")
"""
COUNTED = r"\d\d:\d\d:\d\d counting words: 80.0 MB in 0:0\d"
WRITTEN = r"\d\d:\d\d:\d\d writing examples: 80.0 MB in 0:0\d"


def show(body="pass", terminal=None, between=10.0, signal_at="", **variables):
    """Runs the display with a terminal as its standard error, or without. Returns the exit code and both outputs."""
    variables = {"TERM": "xterm-256color", "COLUMNS": "80", **variables}
    script = SCRIPT.replace("BODY", body)
    return run_script(script, str(between), terminal=terminal, signal_at=signal_at, env=environment(**variables))


@pytest.mark.parametrize("columns", [100, 44])
def test_a_bar_moves_and_a_line_for_each_stage_stays(columns):
    with Terminal(columns) as terminal:
        assert show(terminal=terminal) == (0, "the summary\n", None)
    screens = list(terminal.screens())
    assert matches(screens[-1], COUNTED, WRITTEN, "")
    bars = [rows[-1] for rows in screens if "%" in rows[-1]]
    assert all(len(bar) < columns for bar in bars)
    for title in ("counting words", "writing examples"):
        shares = [int(re.search(r"(\d+) %", bar).group(1)) for bar in bars if bar.startswith(title)]
        assert len(set(shares)) > 3 and shares == sorted(shares) and max(shares) <= 100
    assert "\u2501" in bars[0]
    assert all("%" not in row for rows in screens for row in rows[:-1])


def test_an_error_stands_alone():
    with Terminal() as terminal:
        assert show("raise SystemExit('program: it failed')", terminal)[:2] == (1, "")
    assert matches(terminal.screen(), COUNTED, "program: it failed", "")


def test_an_interrupted_command_tells_how_far_it_was():
    with Terminal() as terminal:
        assert show("threading.Event().wait()", terminal, signal_at=r"writing examples[^\r]* 50 %")[:2] == (130, "")
    told = r"writing examples 50 % 40.0 of 80.0 MB.*"
    assert matches(terminal.screen(), COUNTED, told, r"program: interrupted by Ctrl-C; run it again", "")


def test_other_lines_of_the_log_take_the_place_of_the_bar():
    """Those of worker processes do as well."""
    body = """logging.warning("one")
    os.fork() or (logging.warning("two"), os._exit(0))
    time.sleep(0.2)"""
    with Terminal() as terminal:
        assert show(body, terminal)[0] == 0
    assert matches(terminal.screen(), COUNTED, r"[\d:]{8} one", r"[\d:]{8} two", WRITTEN, "")


@pytest.mark.parametrize("kind", ["pipe", "dumb"])
def test_a_log_has_a_line_now_and_then(kind):
    """As many for the whole job as the time allows, whatever the stages."""
    with Terminal() as terminal:
        has_terminal = kind != "pipe"
        start = time.monotonic()
        _, out, err = show("", terminal if has_terminal else None, 0.05, TERM="dumb")
        seconds = time.monotonic() - start
    text = terminal.written.decode().replace("\r\n", "\n") if has_terminal else err
    assert "\x1b" not in text and "\r" not in text and out == "the summary\n"
    lines = text.splitlines()
    assert 2 <= len(lines) <= seconds / 0.05
    pattern = r"\d\d:\d\d:\d\d (counting words|writing examples) \d+ % [\d.]+ of 80.0 MB(, .*)?"
    assert all(re.fullmatch(pattern, line) for line in lines)


def test_a_short_job_logs_nothing():
    assert show() == (0, "the summary\n", "")


def test_colours_can_be_turned_off_and_the_locale_may_have_ascii_alone():
    with Terminal() as terminal:
        assert show("", terminal, NO_COLOR="1", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")[0] == 0
    assert not re.search(rb"\x1b\[[\d;]+m", terminal.written.replace(b"\x1b[0m", b""))
    assert terminal.written.isascii() and b"---" in terminal.written


def test_a_window_may_become_narrower():
    with Terminal(120) as terminal:
        resized = threading.Timer(0.5, terminal.resize, (50,))
        resized.start()
        assert show("time.sleep(1)", terminal)[0] == 0
    *_, last_bar = (rows[-1] for rows in terminal.screens() if "%" in rows[-1])
    assert len(last_bar) < 50


# Whole jobs


def run_on_terminal(*args):
    """Runs the command. Returns what the terminal showed, and standard output."""
    with Terminal() as terminal, open(os.devnull) as nothing:
        reader, writer = os.pipe()
        process = forked.server("pipeline").start(
            "-m", "pipeline", *args, stdin=nothing.fileno(), stdout=writer, stderr=terminal.slave,
            env={**environment(), "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(writer)
        with open(reader) as file:
            out = file.read()
        assert process.wait(60) == 0, terminal.written
    return terminal, out


@pytest.mark.parametrize("flags", [["--direct_num_workers=2"], ["--phrases=1", "--passes=2"]], ids=["forks", "thread"])
def test_a_job_shows_all_stages_up_to_the_end(flags, tmp_path):
    write_files(tmp_path, {"a.txt": random_text(1, 1_500_000), "b.gz": random_text(2, 400_000)})
    size = sum(path.stat().st_size for path in tmp_path.iterdir())

    terminal, out = run_on_terminal("--input", tmp_path / "*", "--output", tmp_path / "d", "--num_shards=4", *flags)

    names = ["learning phrases"] * (flags[0] == "--phrases=1") + ["counting words", "writing examples"]
    first, *news, last = terminal.screen()
    assert first.endswith(f"reading {tmp_path}/*") and last == ""
    done = dict.fromkeys(names, size) | ({"writing examples": 2 * size} if "--passes=2" in flags else {})
    expected = [f"{name}: {done[name] / 1e6:.1f} MB in" for name in names]
    assert [re.match(r"[\d:]{8} (.*) \d:\d\d$", line).group(1) for line in news] == expected
    assert out.startswith("lines  ") and out.splitlines()[-1] == f"dataset     {tmp_path}/d"


def test_quiet_prints_nothing(tmp_path):
    write_files(tmp_path, {"a.txt": random_text(1, 30_000)})
    flags = ["--input", tmp_path / "a.txt", "--output", tmp_path / "d", "--quiet"]

    terminal, out = run_on_terminal(*flags)
    assert (out, terminal.written) == ("", b"")

    planned = forked.run("pipeline", *flags, "--plan", "--overwrite")
    assert planned.stdout.startswith("text  ") and planned.stderr == ""
    failed = forked.run("pipeline", *flags)
    assert failed.stdout == "" and failed.stderr.count("\n") == 1 and "already holds a dataset" in failed.stderr
