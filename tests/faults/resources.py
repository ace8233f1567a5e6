"""Full disks, quotas, read-only directories and little memory: one line with the path, and nothing is lost."""

import contextlib
import os
import subprocess

from tests.faults.fault import Attempt, Fault, Skipped
from tests.faults.signals import LEAVES, over

ONE_LINE = {
    "ENOSPC": "no space is left on the device",
    "EDQUOT": "the quota of disk space is used up",
    "EROFS": "the file system is read-only",
    "EACCES": "permission is denied",
    "ESTALE": "the network file system no longer knows the file",
    "EIO": "the device reports an input/output error",
    "ENOTCONN": "the file system cannot be reached",
}
CANNOT_WRITE = "|".join([
    *ONE_LINE.values(), "larger than allowed", "cannot be used", "cannot be written to"
])  # fmt: skip


def mounted(options: str):
    """The output is a file system of its own, in memory, which is mounted with these options."""

    @contextlib.contextmanager
    def prepare(attempt: Attempt):
        attempt.output.mkdir(exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", attempt.output], capture_output=True)
        if done.returncode:
            raise Skipped("mounting takes rights that this user does not have")
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", attempt.output], check=True)

    return prepare


@contextlib.contextmanager
def unwritable(attempt: Attempt):
    """Nobody may write to the output."""
    if not os.geteuid():
        raise Skipped("permissions do not concern root")
    attempt.output.mkdir(exist_ok=True)
    attempt.output.chmod(0o500)
    try:
        yield
    finally:
        attempt.output.chmod(0o700)


@contextlib.contextmanager
def a_file(attempt: Attempt):
    """The output is a file."""
    attempt.output.write_text("a file")
    try:
        yield
    finally:
        attempt.output.unlink()


def failing(kind: str, program: str, what: str, line: str = f"output.*({CANNOT_WRITE})", **kwargs) -> Fault:
    """The program fails in one line and leaves nothing but what --resume needs."""
    return Fault(kind, what, program, code=None, line=line, leaves=LEAVES[program], **kwargs)


FAULTS = [
    *(
        failing("full disks", program, what, prepare=mounted(options))
        for program in LEAVES
        for what, options in {
            **{f"{size} kB": f"size={size}k" for size in (4, 8, 16, 32, 64, 100)},
            **{f"{files} files": f"nr_inodes={files}" for files in (1, 2, 3, 5, 8, 12)},
        }.items()
    ),
    *(
        failing("read-only", program, what, prepare=prepare)
        for program in LEAVES
        for what, prepare in {"a file system": mounted("ro"), "a directory": unwritable, "a file": a_file}.items()
    ),
    *(
        # TensorFlow also writes source files of up to 15 kB to the temporary directory.
        failing("file size", program, f"{size} bytes", CANNOT_WRITE, limits={"RLIMIT_FSIZE": size}, may_finish=True)
        for program in LEAVES
        for size in (20_000, 30_000, 40_000)
    ),
    *(
        failing("memory", program, f"{size} MB", "ulimit -v", limits={"RLIMIT_AS": size * 1_000_000}, imports=True)
        for program in LEAVES
        for size in (200, 500, 1_000, 2_000)
    ),
    *(
        failing(
            "failing file systems",
            program,
            f"{name} at file operation {call}{over(call % 2 == 0)}",
            f"{line}|cannot be (used|written to)",
            inject=(call, name),
            existing=call % 2 == 0,
        )
        for program, calls in {"pipeline": range(1, 16), "trainer.task": range(1, 26)}.items()
        for call in calls
        for number, (name, line) in enumerate(ONE_LINE.items())
        if name == "ENOSPC" or (call + number) % 4 == 0  # a share of all combinations
    ),
]
