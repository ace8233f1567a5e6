"""The scripts below deploy/local: mistakes are told in one line, before anything is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "deploy" / "local"


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


@pytest.mark.parametrize(
    "extras, says, message",
    [
        ("", "3.12", "expected extras"),
        ("pipeline trainer", "3.12", "expected extras"),
        ("trainer", "3.10", "Python 3.11, 3.12 or 3.13 is needed"),
        ("trainer", "3.14", "Python 3.11, 3.12 or 3.13 is needed"),
        ("trainer", "3.12", "no venv module"),
    ],
)
def test_setup_refuses(tmp_path, extras, says, message):
    script = tmp_path / "deploy" / "local" / "setup_venv.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPTS / "setup_venv.sh", script)
    shutil.copy(SCRIPTS.parent / "common.sh", tmp_path / "deploy" / "common.sh")
    python = tmp_path / "python"  # says which version it is, and can do nothing else
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && case $2 in *version_info*) echo {says}; exit 0;; esac\nexit 1\n')
    python.chmod(0o755)
    result = run(script, extras, PYTHON=str(python))
    assert result.returncode == 1
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / ".venv").exists()
