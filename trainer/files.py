"""Files on this machine, and those with paths such as gs://, which TensorFlow opens."""

import contextlib
import gzip
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from trainer.errors import UserError

_BYTES_AT_ONCE = 1 << 20
_GZIP = b"\x1f\x8b"  # how a file that is compressed by gzip begins

Contents = bytes | mmap.mmap  # what is in a file


def needs_tensorflow(path: str) -> bool:
    """Whether TensorFlow opens the path, as it does with gs:// and others. Importing TensorFlow takes seconds."""
    return "://" in path


def open_file(path: str, mode: str) -> IO[Any]:
    """Opens a local file, or with TensorFlow a path such as gs://."""
    if not needs_tensorflow(path):
        return open(path, mode)
    from tensorflow.io import gfile

    file: IO[Any] = gfile.GFile(path, mode)
    return file


def exists(path: str) -> bool:
    """Whether there is a file or a directory with this path."""
    if not needs_tensorflow(path):
        return os.path.exists(path)
    from tensorflow.io import gfile

    return bool(gfile.exists(path))


def is_directory(path: str) -> bool:
    """Whether the path is that of a directory."""
    if not needs_tensorflow(path):
        return os.path.isdir(path)
    from tensorflow.io import gfile

    return bool(gfile.isdir(path))


def size(path: str) -> int:
    """The size of a file in bytes; 0 if it is not there."""
    if not exists(path):
        return 0
    if not needs_tensorflow(path):
        return os.path.getsize(path)
    from tensorflow.io import gfile

    return int(gfile.stat(path).length)


@contextlib.contextmanager
def reading(path: str, expected: str) -> Iterator[IO[Any]]:
    """Opens a file to read it, for the time of a `with` block.

    Args:
        path: a local file, or a path such as gs://.
        expected: what the file should be, for the message.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with open_file(path, "rb") as file:
            yield file
    except (MemoryError, UserError):
        raise
    except Exception as error:  # raised by open, or by TensorFlow for a path such as gs://
        reason = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
        first_line, *_ = reason.split("\n")
        raise UserError(f"{path} cannot be read ({first_line}): expected {expected}") from error


def read_file(path: str, expected: str) -> bytes:
    """Reads a file, and decompresses it if it is compressed by gzip; the arguments are those of `reading`.

    Raises:
        UserError: the file cannot be read or decompressed.
    """
    with reading(path, expected) as file:
        data: bytes = file.read()
        return gzip.decompress(data) if data[: len(_GZIP)] == _GZIP else data


@contextlib.contextmanager
def mapped(path: str, expected: str) -> Iterator[Contents]:
    """Gives the contents of a file without reading them into the memory, for the time of a `with` block.

    A remote or compressed file becomes a temporary file first. The arguments and errors are those of `read_file`.
    """
    with contextlib.ExitStack() as stack, reading(path, expected) as file:
        is_compressed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        local = file
        if is_compressed or needs_tensorflow(path):
            local = stack.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(gzip.GzipFile(fileobj=file) if is_compressed else file, local, _BYTES_AT_ONCE)
            local.flush()
        is_empty = not os.fstat(local.fileno()).st_size
        data: Contents = b"" if is_empty else mmap.mmap(local.fileno(), 0, access=mmap.ACCESS_READ)
    yield data  # it is closed when nothing refers to it any more
