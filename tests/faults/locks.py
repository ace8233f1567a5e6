"""Two runs with one output: the second is refused in one line, and the first gives what it always gives."""

import contextlib
import subprocess
import sys

from tests.conftest import ROOT
from tests.faults.fault import Attempt, Fault
from tests.faults.signals import over

HOLDER = """
import sys
from {package}.lock import locked
with locked(sys.argv[1], "--output"):
    print("held", flush=True)
    sys.stdin.read()
"""
IN_USE = r"--output .*/output is in use by process \d+ on host \S+, since .*: expected one run at a time"


def held_by(package: str, killed: bool = False):
    """Another run has the output, or has been killed while it had it."""

    @contextlib.contextmanager
    def prepare(attempt: Attempt):
        attempt.output.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER.format(package=package), attempt.output],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout.readline() == "held\n"
            if killed:
                process.kill()
                process.wait()
            yield
        finally:
            process.kill()
            process.communicate()

    return prepare


PROGRAMS = ("pipeline", "trainer.task")
HOLDERS = ("pipeline", "trainer")

FAULTS = [
    *(
        Fault(
            "two runs",
            f"a {holder} has the output{over(existing)}",
            program,
            code=2,
            line=IN_USE,
            prepare=held_by(holder),
            existing=existing,
            keeps_output=True,
            leaves=r"^\.lock$",
        )
        for program in PROGRAMS
        for holder in HOLDERS
        for existing in (False, True)
    ),
    *(
        Fault("two runs", f"a {holder} was killed", program, code=0, prepare=held_by(holder, killed=True))
        for program in PROGRAMS
        for holder in HOLDERS
    ),
]
