"""Real signals to real processes: what they say, with which code they end, and what they leave behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "trainer")

# Each script runs after the handlers are installed. READY prints "ready" and the pids of the child processes.
READY = "print('ready', *pids, flush=True)"
SCRIPTS = {
    "sleeps": f"{READY}; time.sleep(60)",
    "computes": f"""
{READY}
while True:
    pass""",
    "waits for a lock": f"{READY}; threading.Event().wait()",
    "waits for a thread": f"""
thread = threading.Thread(target=time.sleep, args=(60,))
thread.start()
{READY}
thread.join()""",
    "has ended but for a thread": f"threading.Thread(target=time.sleep, args=(60,)).start(); {READY}",
    "swallows all exceptions": f"""
{READY}
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass""",
    "imports": f"{READY}; import slow",
    "writes to nowhere": f"os.dup2(os.open(os.devnull, os.O_WRONLY), 2); {READY}; time.sleep(60)",
    "has children": f"""
child = subprocess.Popen(["sh", "-c", "sleep 61 & echo $!; sleep 62"], stdout=subprocess.PIPE, text=True)
pids = [child.pid, child.stdout.readline().strip()]
{READY}
time.sleep(60)""",
    "has a thread that misses a child": f"""
child = subprocess.Popen(["sleep", "61"])
threading.Thread(target=lambda: print("the child is gone", child.wait(), file=sys.stderr)).start()
{READY}
time.sleep(60)""",
    "has a handler of a library": f"""
signal.signal(signal.SIGINT, lambda *_: None)
signal.signal(signal.SIGTERM, lambda *_: None)
{READY}
time.sleep(60)""",
}
CODES = {signal.SIGINT: (130, "Ctrl-C"), signal.SIGTERM: (143, "SIGTERM")}


@contextlib.contextmanager
def started(script, package="pipeline", advice="--resume goes on", start=None, **kwargs):
    """A process that has installed the handlers and has printed that it is ready, and the pids that it printed."""
    script = (
        f"import os, signal, subprocess, sys, threading, time\nfrom {package} import interrupt\npids = []\n"
        f"interrupt.install('program', {advice!r})\n{script}"
    )
    process = subprocess.Popen(
        [*(start or []), sys.executable, "-c", script], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **kwargs,
    )  # fmt: skip
    try:
        word, *pids = process.stdout.readline().split()
        assert word == "ready"
        yield process, [int(pid) for pid in pids]
    finally:
        process.kill()
        process.communicate()


def interrupted(process, number):
    """Sends a signal. Returns the exit code, what was written to standard error, and the seconds until the end."""
    start = time.monotonic()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr, time.monotonic() - start


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("doing", SCRIPTS)
def test_a_signal_ends_the_process_with_one_line(doing, number, tmp_path):
    (tmp_path / "slow.py").write_text("import time\ntry:\n    time.sleep(60)\nexcept BaseException:\n    pass\n")
    package = PACKAGES[number == signal.SIGTERM]
    # Standard output has a buffer, so that the signal often comes while the main thread holds the buffer's lock.
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "PYTHONUNBUFFERED": ""}
    code, name = CODES[number]

    with started(SCRIPTS[doing], package, env=environment) as (process, pids):
        assert len(pids) == (2 if doing == "has children" else 0)
        result = interrupted(process, number)

        assert result[:2] == (code, f"program: interrupted by {name}; --resume goes on\n")
        assert result[2] < 4
        assert not any(is_alive(pid) for pid in pids)


def test_without_advice_the_line_says_what_happened_alone():
    with started(SCRIPTS["sleeps"], advice="") as (process, _):
        assert interrupted(process, signal.SIGINT)[1] == "program: interrupted by Ctrl-C\n"


def test_a_closed_standard_error_is_no_obstacle():
    with started(SCRIPTS["sleeps"], start=["sh", "-c", 'exec "$0" "$@" 2>&-']) as (process, _):
        assert interrupted(process, signal.SIGTERM)[0] == 143


def test_a_second_call_replaces_the_line():
    script = "interrupt.install('other', 'advice')\n" + SCRIPTS["sleeps"]
    with started(script) as (process, _):
        assert interrupted(process, signal.SIGINT)[1] == "other: interrupted by Ctrl-C; advice\n"


CLEANING = """
def remove(name):
    print(name)
    if name == "broken":
        raise ValueError(name)
with interrupt.cleaning_up(lambda: remove("first")), interrupt.cleaning_up(lambda: remove("broken")):
    with interrupt.cleaning_up(lambda: remove("over")):
        pass
    with interrupt.cleaning_up(lambda: remove("last")):
        print("ready", flush=True)
        print("unflushed", end=" ")
        time.sleep(60)
"""


def test_what_was_registered_is_called_the_newest_first():
    with started(CLEANING) as (process, _):
        time.sleep(0.2)  # the script goes on to print
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.stdout.read(), process.stderr.read()
        process.wait()

    assert stdout.split() == ["unflushed", "last", "broken", "broken", "broken", "first"]
    assert len(stderr.splitlines()) == 1
    assert process.returncode == 130


HANGING = """
with interrupt.cleaning_up(lambda: threading.Event().wait()):
    print("ready", flush=True)
    threading.Event().wait()
"""


def test_a_second_signal_ends_at_once_what_hangs():
    with started(HANGING) as (process, _):
        process.send_signal(signal.SIGINT)
        assert "interrupted" in process.stderr.readline()
        result = interrupted(process, signal.SIGINT)

    assert result[0] == 130
    assert result[2] < 1


def test_what_hangs_ends_after_4_seconds():
    with started(HANGING) as (process, _):
        code, _, seconds = interrupted(process, signal.SIGTERM)

    assert code == 143
    assert 3 < seconds < 5


def test_the_main_thread_goes_no_further_while_others_clean_up():
    script = (
        "with interrupt.cleaning_up(lambda: time.sleep(1)):\n"
        "    print('ready', flush=True)\n    while True:\n        print(time.monotonic(), flush=True)\n"
    )
    with started(script) as (process, _):
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        *_, last = process.stdout.read().split()
        end = time.monotonic()

    assert end - float(last) > 0.9


def test_an_ignored_signal_stays_ignored():
    """As of a program that was started by nohup, or in the background by a shell without job control."""
    start = ["sh", "-c", 'trap \'\' INT; exec "$0" "$@"']
    with started(SCRIPTS["sleeps"], start=start) as (process, _):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        assert interrupted(process, signal.SIGTERM)[0] == 143


def test_a_forked_process_ends_alone():
    script = (
        "pid = os.fork()\nif not pid:\n    time.sleep(60)\ntime.sleep(0.1)\n"
        "os.kill(pid, signal.SIGTERM)\nprint('ready', os.waitpid(pid, 0)[1], flush=True)\ntime.sleep(60)"
    )
    with started(script) as (process, [status]):
        assert os.WTERMSIG(status) == signal.SIGTERM
        time.sleep(0.2)
        assert process.poll() is None


def test_a_signal_while_the_handlers_are_installed():
    """psutil takes a while to import; the signal must not wait for the import, which its handler has stopped."""
    script = (
        "import os, signal, sys, time\nclass Slow:\n    def find_spec(self, name, *_):\n"
        "        if name == 'psutil':\n            os.kill(os.getpid(), signal.SIGINT)\n            time.sleep(60)\n"
        "sys.meta_path.insert(0, Slow())\nfrom pipeline import interrupt\ninterrupt.install('program')"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)

    assert done.stderr == "program: interrupted by Ctrl-C\n"
    assert time.monotonic() - start < 3


def test_outside_the_main_thread_nothing_is_installed():
    script = (
        "import signal, threading\nfrom pipeline import interrupt\nbefore = signal.getsignal(signal.SIGINT)\n"
        "thread = threading.Thread(target=interrupt.install, args=('program',))\nthread.start()\nthread.join()\n"
        "assert signal.getsignal(signal.SIGINT) is before"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@pytest.mark.parametrize("twin", ["errors", "interrupt", "limits", "lock"])
def test_the_two_packages_have_the_same_modules(twin):
    ours, theirs = ((ROOT / package / f"{twin}.py").read_text() for package in PACKAGES)

    assert ours.replace("from pipeline.", "from trainer.") == theirs
