"""The folders of a run: where it writes until its dataset is complete, and which of them to remove."""

import os
import re
import tempfile
import time
import zlib
from collections.abc import Iterator

from apache_beam.runners.runner import PipelineRunner
from tensorflow.io import gfile

from pipeline.dataset.layout import PARTIAL_PREFIX
from pipeline.errors import UserError

# TensorFlow fails on these characters in the path of a SavedModel: it takes them for a pattern, or expects ASCII.
_ODD = re.compile(r"[^\x20-\x7e]|[\[\]*?\\]")
_TEMPORARY = ("/tmp", "/var/tmp")
_RUNNERS_OF_CLUSTERS = ("PortableRunner", "FlinkRunner", "SparkRunner")


def check_plain(output: str, runner: PipelineRunner) -> None:
    """Checks that all workers can use the analysis folder.

    Args:
        output: the output.
        runner: the runner that is to run the job.

    Raises:
        UserError: the path of the output has characters on which TensorFlow fails, and there is no way around them.
    """
    if _ODD.search(_whole(output)) and ("://" in output or type(runner).__name__ in _RUNNERS_OF_CLUSTERS):
        raise UserError(
            f"--output {output} has characters that TensorFlow cannot use in a path that several machines share: "
            "expected ASCII characters, without any of []*?\\"
        )


def make_analysis_folder(partial: str) -> str:
    """Where TensorFlow Transform writes what it needs to count the words, until the transform graph is complete.

    It is in the partial folder. If TensorFlow fails on the path of the output, it is a new directory of this machine
    that has a plain path.

    Args:
        partial: the partial folder.

    Raises:
        UserError: no such directory can be made.
    """
    if not _ODD.search(partial):
        return os.path.join(partial, "analysis")
    for parent in (tempfile.gettempdir(), *_TEMPORARY):
        if not _ODD.search(parent) and os.access(parent, os.W_OK | os.X_OK):
            return tempfile.mkdtemp(prefix=_prefix(os.path.dirname(partial)), dir=parent)
    raise UserError(
        f"TMPDIR is {tempfile.gettempdir()}: expected a directory that can be written to, whose path has no letters "
        "beyond ASCII and none of []*?\\, since the path of --output has some, on which TensorFlow fails"
    )


def remove_folders(*folders: str) -> None:
    """Removes folders with all that is in them, if they are there."""
    for folder in folders:
        if gfile.exists(folder):
            gfile.rmtree(folder)


def remove_folders_of_threads(*folders: str) -> None:
    """Removes folders that threads of this process may still write to. Each thread fails as soon as it notices."""
    for _ in range(20):
        try:
            if not any(map(gfile.exists, folders)):
                return
            remove_folders(*folders)
        except Exception:  # a thread has just made a file
            continue
        time.sleep(0.05)


def remove_all_of(output: str, analysis: str) -> None:
    """Removes the folders of all runs, those that died included.

    Args:
        output: the output of these runs.
        analysis: the analysis folder of this run.
    """
    for entry in gfile.listdir(output):
        if entry.startswith(PARTIAL_PREFIX):
            gfile.rmtree(os.path.join(output, entry))
    if _ODD.search(output):
        remove_folders(*_like(analysis, _prefix(output)))


def _like(analysis: str, prefix: str) -> Iterator[str]:
    parent = os.path.dirname(analysis)
    for entry in os.listdir(parent):
        path = os.path.join(parent, entry)
        if entry.startswith(prefix) and os.stat(path).st_uid == os.getuid():
            yield path


def _prefix(output: str) -> str:
    """What the names of the analysis folders of all runs to an output begin with."""
    return f"word2vec-{zlib.crc32(output.encode()):08x}-"


def _whole(output: str) -> str:
    return output if "://" in output else os.path.abspath(output)
