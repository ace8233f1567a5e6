"""Runs a script in a fresh Python beside a thread that uses standard error and garbage collection all the while.

A library may take neither from a program, not even for a moment.
"""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

_BEFORE = """
import gc as _gc, json as _json, os as _os, sys as _sys, threading as _threading

_report, _sys.argv[1:] = _sys.argv[1], _sys.argv[2:]
_argv, _frozen, _file = list(_sys.argv), _gc.get_freeze_count(), _os.fstat(2).st_ino
_looks, _done = [], _threading.Event()

def _watch():
    while not _done.wait(0.002):
        _os.write(2, b"bystander %d\\n" % len(_looks))
        _looks.append(_os.fstat(2).st_ino == _file and _gc.isenabled())

_thread = _threading.Thread(target=_watch)
_thread.start()
try:
"""
_AFTER = """
finally:
    _done.set()
    _thread.join()
with open(_report, "w") as _out:
    _json.dump(
        {
            "looks": len(_looks), "disturbed": _looks.count(False), "frozen": _gc.get_freeze_count() - _frozen,
            "argv": _sys.argv == _argv,
        },
        _out,
    )
"""


@dataclasses.dataclass(frozen=True)
class Watched:
    """How a script ran."""

    stdout: str
    stderr: str  # without the thread's lines


def run_beside_bystander(script: str, folder: Path, *args: object, env: dict[str, str] | None = None) -> Watched:
    """Runs a script to its end; fails if it fails or disturbs the thread.

    Args:
        script: Python; its sys.argv[1:] are `args`.
        folder: for a temporary file.
        env: the environment, if it is to be another one.
    """
    indented = "".join(f"    {line}\n" for line in script.strip().splitlines())
    done = subprocess.run(
        [sys.executable, "-c", _BEFORE + indented + _AFTER, folder / "report.json", *map(str, args)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "report.json").read_text())
    heard = [int(number) for number in re.findall(r"bystander (\d+)\n", done.stderr)]
    assert heard == list(range(report["looks"])), "standard error was taken away"
    assert report.pop("looks") > 20
    assert report == {"disturbed": 0, "frozen": 0, "argv": True}
    return Watched(done.stdout, re.sub(r"bystander \d+\n", "", done.stderr))
