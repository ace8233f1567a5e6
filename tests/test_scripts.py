"""The scripts below deploy/local: mistakes are told in one line, before anything is installed."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "deploy" / "local"
EXTRAS = ("pipeline", "gcp", "trainer", "gpu", "all", "test", "bench")


def run(script, *args, **environment):
    return subprocess.run([script, *args], capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.parametrize(
    "args, named",
    [
        (["--inptu", "a.txt"], "--inptu"),
        (["a.txt"], "a.txt"),
        (["--input"], "--input"),
        (["--input", "--output", "b"], "--input"),
        (["--output="], "--output"),
        (["--output", "a", "b"], "--output a b"),
        (["--words"], "--words"),
    ],
)
def test_quickstart_refuses(args, named):
    result = run(SCRIPTS / "quickstart.sh", *args)
    assert result.returncode == 2
    assert named in result.stderr and result.stderr.count("\n") == 1
    assert not result.stdout


def test_quickstart_help():
    result = run(SCRIPTS / "quickstart.sh", "--help")
    assert result.returncode == 0
    for flag in ("--input", "--output", "--words"):
        assert flag in result.stdout


@pytest.fixture
def checkout(tmp_path):
    """A checkout with setup_venv.sh, and a function that runs it with a Python that only says its version."""
    script = tmp_path / "deploy" / "local" / "setup_venv.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPTS / "setup_venv.sh", script)
    shutil.copy(SCRIPTS.parent / "common.sh", tmp_path / "deploy" / "common.sh")
    shutil.copy(SCRIPTS.parents[1] / "setup.py", tmp_path)
    return tmp_path


def python_of(checkout, says):
    python = checkout / "python"  # says which version it is, and can do nothing else
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && case $2 in *version_info*) echo {says}; exit 0;; esac\nexit 1\n')
    python.chmod(0o755)
    return str(python)


@pytest.mark.parametrize(
    "extras, says, message",
    [
        ("", "3.12", "expected extras"),
        ("pipeline trainer", "3.12", "expected extras"),
        ("dev", "3.12", "dev: setup.py has no such extra; expected one of: " + ", ".join(EXTRAS)),
        ("trainer,tests", "3.12", "tests: setup.py has no such extra; expected one of: "),
        ("trainer", "3.10", "Python 3.11, 3.12 or 3.13 is needed"),
        ("trainer", "3.14", "Python 3.11, 3.12 or 3.13 is needed"),
        ("trainer", "3.12", "no venv module"),
    ],
)
def test_setup_refuses(checkout, extras, says, message):
    result = run(checkout / "deploy/local/setup_venv.sh", extras, PYTHON=python_of(checkout, says))
    assert result.returncode == 1
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("extra", EXTRAS)
def test_setup_knows_every_extra(checkout, extra):
    result = run(checkout / "deploy/local/setup_venv.sh", extra, PYTHON=python_of(checkout, "3.12"))
    assert "no venv module" in result.stderr  # so the extra was accepted


def test_one_setup_waits_for_another(checkout):
    environment = {**os.environ, "PYTHON": python_of(checkout, "3.12")}
    with open(checkout / "setup.py") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        script = subprocess.Popen(
            [checkout / "deploy/local/setup_venv.sh", "trainer"], stderr=subprocess.PIPE, text=True, env=environment
        )
        assert script.stderr.readline() == "waiting for another setup_venv.sh in this checkout\n"
        assert script.poll() is None
    assert "no venv module" in script.communicate(timeout=30)[1]
    assert script.returncode == 1
