"""Writes a file and reads it back, so that damage on the way to the storage is noticed."""

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from tensorflow.io import gfile

from trainer.state import FileSum
from trainer.word2vec_format import ExportError

_BYTES_AT_ONCE = 1 << 20
DIFFERS = "{} does not hold what was written to it: check the storage, then repeat the run with --resume"

Write = Callable[[bytes], None]


@contextlib.contextmanager
def checked_file(path: str, sums: dict[str, FileSum] | None = None) -> Iterator[Write]:
    """Gives a function that writes to a new file. At the end, the file is read back.

    Args:
        path: the path of the file.
        sums: gets the size and the checksum of the file, under its name.

    Raises:
        ExportError: the file does not hold what was written.
    """
    written = read = num_bytes = 0

    def write(piece: bytes) -> None:
        nonlocal written, num_bytes
        num_bytes += len(piece)
        written = zlib.crc32(piece, written)
        file.write(piece)

    with gfile.GFile(path, "wb") as file:
        yield write
    with gfile.GFile(path, "rb") as file:
        while piece := file.read(_BYTES_AT_ONCE):
            read = zlib.crc32(piece, read)
    if read != written:
        raise ExportError(DIFFERS.format(os.path.basename(path)))
    if sums is not None:
        sums[os.path.basename(path)] = FileSum(num_bytes, written)


def write_numbers(write: Write, values: np.ndarray) -> None:
    """Writes the numbers of a block as little-endian float32, piece by piece."""
    numbers = np.ascontiguousarray(values, "<f4").reshape(-1)
    step = _BYTES_AT_ONCE // numbers.itemsize
    for start in range(0, len(numbers), step):
        write(numbers[start : start + step].tobytes())
