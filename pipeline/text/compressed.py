"""Compressed files: which they are by their names, and what they hold. Needs no Beam."""

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable
from typing import BinaryIO

import pyarrow as pa

NAMES = ".gz, .bz2, .xz or .zst"

# What reading a damaged file raises.
DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, pa.ArrowException)


def _open_zstandard(raw: BinaryIO) -> BinaryIO:
    """Opens a file of one Zstandard frame or of several. Arrow's reader notices if the last one is not complete."""
    return pa.CompressedInputStream(raw, "zstd")


_OPEN: dict[str, Callable[[BinaryIO], BinaryIO]] = {
    ".gz": gzip.open,  # type: ignore[dict-item]
    ".bz2": bz2.open,  # type: ignore[dict-item]
    ".xz": lzma.open,  # type: ignore[dict-item]
    ".zst": _open_zstandard,
}


def extension(path: str) -> str:
    """The last extension of a file's name in lower case, with its dot."""
    return os.path.splitext(path)[1].lower()


def is_compressed(path: str) -> bool:
    """Whether a file is compressed by its name, and so can only be read from its beginning."""
    return extension(path) in _OPEN


def without_compression(path: str) -> str:
    """The name that a file had before it was compressed."""
    return os.path.splitext(path)[0] if is_compressed(path) else path


def decompressed(path: str, raw: BinaryIO) -> BinaryIO:
    """What a file holds, after decompression if its name says that it is compressed.

    Args:
        path: of the file.
        raw: the file's bytes.
    """
    return _OPEN[extension(path)](raw) if is_compressed(path) else raw
