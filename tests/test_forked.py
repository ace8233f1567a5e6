"""A forked program behaves as one that Python has just started."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests import forked

SCRIPT = """
import json, os, signal, sys
names = ("SIGINT", "SIGTERM", "SIGCHLD", "SIGPIPE")
print(json.dumps({
    "argv": sys.argv, "name": __name__, "cwd": os.getcwd(), "given": os.environ.get("GIVEN"),
    "home": os.environ.get("HOME"), "stdin": sys.stdin.read(), "leads": os.getsid(0) == os.getpid(),
    "handlers": {name: str(signal.getsignal(getattr(signal, name))) for name in names},
    "buffered": [sys.stdout.line_buffering, sys.stderr.line_buffering], "encoding": sys.stdout.encoding,
    "main": sys.modules["__main__"].__dict__ is globals(),
}))
print("told", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture(scope="module")
def server():
    return forked.server("trainer")


def test_a_program_finds_what_a_new_process_finds(server, tmp_path):
    env = {**os.environ, "GIVEN": "ü\udcff"}
    args = ("-c", SCRIPT, "a b", "", "--flag=\udcfe")
    found = server.run(*args, env=env, cwd=tmp_path, input="line\nend")
    expected = subprocess.run(
        [sys.executable, *args], env=env, cwd=tmp_path, input="line\nend", capture_output=True, text=True,
        start_new_session=True,
    )  # fmt: skip

    assert found.stderr == expected.stderr == "told\n"
    assert found.returncode == expected.returncode == 3
    assert json.loads(found.stdout) == json.loads(expected.stdout)


def test_the_trainers_server_has_not_imported_beam_and_no_program_leaves_a_trace(server):
    script = "import os, sys; print('keras' in sys.modules, 'apache_beam' in sys.modules, 'x' in os.environ)"
    for _ in range(2):
        assert server.run("-c", f"{script}; os.environ['x'] = sys.modules['apache_beam'] = ''").stdout.split() == [
            "True", "False", "False",
        ]  # fmt: skip


def test_signals_reach_programs_that_run_at_the_same_time(server):
    programs = [server.start("-c", "import time; time.sleep(60)") for _ in range(3)]
    assert [program.poll() for program in programs] == [None] * 3
    for program, number in zip(programs, (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)):
        program.send_signal(number)
        assert program.wait(30) == -number
        assert program.poll() == -number


def test_a_program_that_takes_too_long_is_killed(server):
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(subprocess.TimeoutExpired) as raised:
        server.run("-c", script, timeout=0.5)
    pid = int(raised.value.stdout)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_exception_that_nobody_catches_is_exit_code_1(server):
    done = server.run("-c", "print('so far'); 1 / 0")
    assert (done.returncode, done.stdout) == (1, "so far\n")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_variables_for_which_it_is_too_late_are_refused(server):
    with pytest.raises(AssertionError, match="{'LC_ALL'} would have no effect"):
        server.run("-c", "pass", env={**os.environ, "LC_ALL": "tr_TR.UTF-8"})


def test_modules_of_other_packages_have_no_server():
    assert [forked.package_of(name) for name in ("pipeline", "trainer.task", "tests.benchmarks.word2vec")] == [
        "pipeline", "trainer", "",
    ]  # fmt: skip
