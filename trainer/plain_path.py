"""Paths that TensorFlow can use."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator

from trainer.errors import UserError

_PLAIN = re.compile(r"[\w./:@%+=,~-]*", re.ASCII)
_DESCRIPTORS = "/proc/self/fd"  # on Linux: a link by number to each file and directory that this process has open
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")


@contextlib.contextmanager
def plain_path(directory: str) -> Iterator[str]:
    """Gives another path of a directory, which TensorFlow can use for whatever is in it.

    TensorFlow searches for checkpoints and variables by patterns, so that it takes `[v2]` in the path of a directory
    for one character. It also fails on the assets of a SavedModel if the path is not ASCII. This path has no such
    characters. It leads to the directory until the end of the block, in this process.

    Args:
        directory: the path of a directory that exists. It may be in a file system of TensorFlow, such as gs://.

    Yields:
        `directory` itself if its path is plain or is not one of this machine.

    Raises:
        UserError: the directory cannot be opened.
    """
    if _PLAIN.fullmatch(directory) or "://" in directory:
        yield directory
        return
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(native(directory), os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            link = f"{_DESCRIPTORS}/{descriptor}"
            if not os.path.isdir(link):
                link = os.path.join(stack.enter_context(_temporary_folder()), "link")
                os.symlink(os.path.abspath(native(directory)), link)
        except OSError as error:
            raise UserError(
                f"{directory} cannot be opened ({error.strerror}): expected a directory that this user may read"
            ) from error
        yield link


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    """Makes a folder with a plain path, for the time of the block."""
    parents = [path for path in (tempfile.gettempdir(), *_TEMPORARY) if _PLAIN.fullmatch(path) and os.path.isdir(path)]
    with tempfile.TemporaryDirectory(dir=parents[0] if parents else None) as folder:
        yield folder


def native(path: str) -> bytes:
    """The bytes of a local path as the operating system has them, whatever the locale says."""
    try:
        return path.encode()
    except UnicodeEncodeError:  # Python found bytes in it that the locale's encoding does not have
        return os.fsencode(path)


def decoded(path: str) -> str:
    """A path as TensorFlow takes it, which is in UTF-8 whatever the locale says.

    Raises:
        UserError: it is not UTF-8.
    """
    try:
        return native(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path!r} is not UTF-8: expected a path in this encoding, which TensorFlow needs") from error
