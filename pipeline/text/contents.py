"""Files -> bytes in chunks: all of a file, or the lines that begin in a part of it. What fails names the file."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline import worker  # noqa: F401 - it prepares each worker, and each worker loads this module
from pipeline.errors import UserError
from pipeline.text import parquet
from pipeline.text.compressed import DAMAGE, NAMES, decompressed, is_compressed
from pipeline.text.encoding import HEAD_BYTES, check_encoding

_CHUNK_BYTES = 1 << 20
_READS_AT_ONCE = 16  # an object store takes its time for each read, whatever the size
_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"\xfd7zXZ": ".xz",
    b"PK\x03\x04": ".zip",
    parquet.MAGIC: ".parquet",
}


@contextlib.contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """Opens a file as it is, compressed or not. An error while it is open becomes a UserError that names the file."""
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as raw:
            yield raw
    except DAMAGE as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: Exception) -> UserError:
    """The mistake that an error of DAMAGE tells of."""
    what = "is damaged or not compressed as its name says" if is_compressed(path) else "cannot be read"
    return UserError(f"{path} {what}: {' '.join(str(error).split())}")


def opened_files(paths: Sequence[str]) -> Iterator[tuple[str, BinaryIO]]:
    """Opens small files, which are read into memory. Gives the path of each, and its bytes."""
    contents: Iterator[bytes] = map(_contents, paths)
    if "://" in paths[0]:
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
            contents = pool.map(_contents, paths)
    for path, data in zip(paths, contents, strict=True):
        yield path, BytesIO(data)


def _contents(path: str) -> bytes:
    with open_file(path) as raw:
        return raw.read()


def chunks_of(path: str, raw: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file in chunks, after decompression."""
    try:
        with decompressed(path, raw) as stream:
            chunk = stream.read(_CHUNK_BYTES)
            check_encoding(path, chunk) if is_compressed(path) else _check_plain(path, chunk)
            while chunk:
                yield chunk
                chunk = stream.read(_CHUNK_BYTES)
    except DAMAGE as error:
        raise unreadable(path, error) from error


def _check_plain(path: str, head: bytes) -> None:
    """Raises UserError if the first bytes of a plain file tell that it is compressed or not UTF-8."""
    for magic, ending in _MAGIC.items():
        if head.startswith(magic):
            raise UserError(
                f"{path} cannot be read: it begins as {ending} files do: expected plain text, or "
                f"{'--input_format parquet' if magic == parquet.MAGIC else NAMES + ' in its name'}"
            )
    check_encoding(path, head)


def owned_lines(path: str, stream: BinaryIO, start: int, stop: int) -> tuple[int, Iterator[bytes]]:
    """The lines that begin in [start, stop).

    A line begins behind each newline. Both ends of a range follow this rule, so neighbouring ranges share no line and
    miss none.

    Returns:
        The offset of the first of these lines, and chunks of bytes from there to the end of the last one.
    """
    first = max(start - 1, 0)
    stream.seek(first)
    data = stream.read(stop - 1 - first)  # behind each newline in here, a line of this range begins
    if start == 0:
        _check_plain(path, data)
    skipped = data.find(b"\n") + 1 if start else 0
    if start and not skipped:
        return start, iter(())  # the range lies within one line of an earlier range

    def chunks() -> Iterator[bytes]:
        yield data[skipped:]
        while chunk := stream.read(_CHUNK_BYTES >> 4):
            end = chunk.find(b"\n") + 1
            yield chunk[:end] if end else chunk
            if end:
                return

    return first + skipped, chunks()


def check_head(path: str) -> None:
    """Raises UserError if a plain file does not begin as text in UTF-8 does."""
    with open_file(path) as raw:
        _check_plain(path, raw.read(HEAD_BYTES))
