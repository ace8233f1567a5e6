"""News of a run: the line at the foot of a terminal, the lines of a log, --quiet, and what programs that train get."""

import logging
import os
import re
import subprocess
import sys

import pytest

from tests import forked
from tests.conftest import ROOT, TRAINER_FLAGS, run_module
from tests.terminal import Terminal, matches, run_script
from trainer import news, training
from trainer.task import parse

NEWS = r"\d\d:\d\d:\d\d "
EPOCH = NEWS + r"epoch \d/3 100%  loss \d\.\d{4}  rate 0\.\d{4}  [\d,]+ words/s  \d+:\d\d left"
DETAILS = ["rate 0.2000", "910,000 words/s", "loss 2.5000", "0:10 left"]


# What fits in a line


@pytest.mark.parametrize("share", [None, 0.0, 0.345, 1.0])
def test_a_line_fits_and_has_a_bar_where_there_is_room(share):
    for width in range(1, 140):
        before, bar, behind = news.fit("epoch 1/5", share, DETAILS, width)

        assert len(before) + bar + len(behind) <= width
        assert bar == 0 or bar >= 6
        assert (bar > 0) == (share is not None and width >= len("epoch 1/5  100%") + 6)


def test_a_narrow_terminal_shows_the_most_important():
    shown = {width: news.fit("epoch 1/5", 0.345, DETAILS, width) for width in (140, 60, 40, 24, 15, 8)}

    assert shown[140] == ("epoch 1/5 ", 40, "  34%  rate 0.2000  910,000 words/s  loss 2.5000  0:10 left")
    assert shown[60] == ("epoch 1/5 ", 21, "  34%  loss 2.5000  0:10 left")
    assert shown[40] == ("epoch 1/5 ", 14, "  34%  0:10 left")
    assert shown[24] == ("epoch 1/5 ", 9, "  34%")
    assert shown[15] == ("epoch 1/5   34%", 0, "") and shown[8] == ("epoch 1/", 0, "")


# The terminal

SCRIPT = """
import os, sys, time
from trainer import interrupt, news
interrupt.install("program", "run it again")
with news.written_to(sys.stderr, quiet="quiet" in sys.argv):
    news.show("loading")
    time.sleep(0.05)
    news.logger.info("training")
    for share in range(0, 11):
        news.show("epoch 1/1", share / 10, ["rate 0.2", "0:10 left"])
        time.sleep(0.02)
        if share == 5:
            BODY
    news.logger.info("epoch 1/1 done")
    news.show("exporting")
sys.stdout.write("the result\\n")
"""


def show(body="pass", terminal=None, *args, signal_at="", **variables):
    """Runs the script with a terminal as its standard error, or without. Returns the exit code and both outputs."""
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    script = SCRIPT.replace("BODY", body)
    return run_script(script, *args, terminal=terminal, signal_at=signal_at, env={**environment, **variables})


@pytest.mark.parametrize("columns", [100, 40])
def test_news_stay_above_the_line_that_shows_what_happens_now(columns):
    with Terminal(columns) as terminal:
        assert show("pass", terminal) == (0, "the result\n", None)
    screens = list(terminal.screens())
    assert matches(screens[-1], NEWS + "training", NEWS + "epoch 1/1 done", "")
    last = [rows[-1] for rows in screens]
    assert {"loading", "exporting"} <= set(last)
    shares = [int(re.search(r"(\d+)%", line).group(1)) for line in last if line.startswith("epoch 1/1 ")]
    assert shares == list(range(0, 101, 10))
    assert all(len(line) < columns for line in last) and any("\u2501" in line for line in last)
    assert b"\x1b[?25l" not in terminal.written  # the cursor is never hidden


def test_an_error_stands_alone():
    with Terminal() as terminal:
        assert show("raise SystemExit('program: it failed')", terminal)[:2] == (1, "")
    assert matches(terminal.screen(), NEWS + "training", "program: it failed", "")


def test_an_interrupted_command_leaves_the_line():
    with Terminal() as terminal:
        assert show("time.sleep(60)", terminal, signal_at=" 50%")[:2] == (130, "")
    _, bar, told, end = terminal.screen()
    assert "50%" in bar and told == "program: interrupted by Ctrl-C; run it again" and end == ""


@pytest.mark.parametrize("kind", ["pipe", "dumb", "no TERM"])
def test_a_log_has_news_alone(kind):
    with Terminal() as terminal:
        has_terminal = kind != "pipe"
        _, out, err = show("pass", terminal if has_terminal else None, TERM={"dumb": "dumb"}.get(kind, ""))
    text = terminal.written.decode().replace("\r\n", "\n") if has_terminal else err
    assert out == "the result\n" and matches(text.splitlines(), NEWS + "training", NEWS + "epoch 1/1 done")


def test_colours_can_be_turned_off_and_the_locale_may_have_ascii_alone():
    with Terminal() as terminal:
        assert show("pass", terminal, NO_COLOR="1", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")[0] == 0
    assert not re.search(rb"\x1b\[[\d;]+m", terminal.written.replace(b"\x1b[0m", b""))
    assert terminal.written.isascii() and b"---" in terminal.written


def test_quiet_has_warnings_alone():
    with Terminal() as terminal:
        assert show("news.logger.warning('a warning')", terminal, "quiet") == (0, "the result\n", None)
    assert matches(terminal.screen(), NEWS + "a warning", "")


def test_a_closed_standard_error_is_no_obstacle():
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, SCRIPT.replace("BODY", "pass")],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "the result\n")


# Whole runs


def run_on_terminal(*args):
    """Trains in a terminal. Returns the terminal, and standard output."""
    reader, writer = os.pipe()
    with Terminal() as terminal, open(os.devnull) as nothing:
        process = forked.server("trainer").start(
            "-m", "trainer.task", *map(str, args), stdin=nothing.fileno(), stdout=writer, stderr=terminal.slave,
            env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(writer)
        with open(reader) as file:
            out = file.read()
        assert process.wait(60) == 0, terminal.written
    return terminal, out


def test_a_run_tells_what_it_does_from_the_beginning_to_the_end(dataset_dir, tmp_path):
    terminal, out = run_on_terminal("--data", dataset_dir, "--output", tmp_path / "model", *TRAINER_FLAGS)

    training_line = NEWS + r"training [\d,]+ x 16 on [\d,]+ skip-grams: 3 x \d+ steps on [CG]PU"
    assert matches(terminal.screen(), training_line, *[EPOCH] * 3, NEWS + r"exporting [\d,]+ vectors", "")
    now = list(dict.fromkeys(re.match(r"[a-zA-Z, ]*", rows[-1]).group().strip() for rows in terminal.screens()))
    assert [each for each in now if each] == [
        "loading TensorFlow", "opening the dataset", "reading the first examples, and compiling the step", "epoch",
        "saving a checkpoint", "exporting", "checking what was exported",
    ]  # fmt: skip
    assert re.match(r"[\d,]+ words/s, ", out) and out.splitlines()[-1].startswith(f"{tmp_path}/model: vectors.bin")


def test_quiet_prints_nothing(dataset_dir, tmp_path):
    flags = ["--data", dataset_dir, "--output", tmp_path / "model", *TRAINER_FLAGS, "--quiet"]

    done = run_module("trainer.task", *flags)
    assert (done.stdout, done.stderr) == ("", "")

    failed = run_module("trainer.task", *flags, check=False)
    assert failed.stdout == "" and failed.stderr.count("\n") == 1 and "already holds a model" in failed.stderr


# Programs


def config(dataset_dir, tmp_path):
    return parse(["--data", str(dataset_dir), "--output", str(tmp_path / "model"), *TRAINER_FLAGS, "--no_report"])


def test_a_program_gets_news_on_demand(dataset_dir, tmp_path, capfd):
    training.train(config(dataset_dir, tmp_path), verbose=True)

    first, *others = capfd.readouterr().out.splitlines()
    assert first.startswith("training ") and others[-1].startswith("exporting ")
    assert matches([f"00:00:00 {line}" for line in others[:-1] if " 100%" in line], *[EPOCH] * 3)


def test_a_program_that_has_configured_logging_gets_records(dataset_dir, tmp_path, capfd, caplog):
    caplog.set_level(logging.INFO, "trainer")

    training.train(config(dataset_dir, tmp_path))

    assert capfd.readouterr() == ("", "")
    assert [record.name for record in caplog.records] == ["trainer"] * len(caplog.records)
    assert caplog.messages[0].startswith("training ") and caplog.messages[-1].startswith("exporting ")
