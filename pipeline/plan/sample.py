"""Reads a sample of the text: small pieces from all over it."""

import bz2
import math
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline.errors import UserError
from pipeline.text.files import as_pattern, file_ranges, is_compressed, read_range
from pipeline.text.lines import text_blocks

_PIECE_BYTES = 1 << 14  # small, because words come in clusters
_COMPRESSED_PIECE_BYTES = 1 << 20  # large, because a compressed file can only be read from its beginning
_READS_AT_ONCE = 16


class Piece(NamedTuple):
    """Lines that were read together."""

    lines: list[bytes]  # valid UTF-8 without NUL
    bytes: int  # their size in the file, compressed or not


def text_files(patterns: Sequence[str]) -> dict[str, int]:
    """The sizes in bytes of all files that match one of the patterns, by path."""
    found = {}
    for match in FileSystems.match([as_pattern(pattern) for pattern in patterns]):
        for file in match.metadata_list:
            found[file.path] = file.size_in_bytes
    return dict(sorted(found.items()))


def read_pieces(files: dict[str, int], share: float, offset: float) -> Iterator[Piece]:
    """Reads pieces that lie at equal distances.

    Args:
        files: the files' sizes in bytes, by path.
        share: how much of the bytes to read, in (0, 1].
        offset: where the first piece begins, as a fraction of the distance between pieces, in [0, 1).

    Raises:
        UserError: a file cannot be read, or is not text.
    """
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:  # an object store takes its time for each read, whatever the size
        yield from pool.map(lambda place: _read(*place), _places(files, share, offset))


def _places(files: dict[str, int], share: float, offset: float) -> Iterator[tuple[str, int, int]]:
    """(path, start, stop) of each piece, in bytes of the file.

    All plain files are treated as one long file in which pieces begin at equal distances, and so are all compressed
    files. The pieces of a compressed file are then moved together to its beginning.
    """
    passed = {_PIECE_BYTES: 0, _COMPRESSED_PIECE_BYTES: 0}
    for path, size in files.items():
        piece = _COMPRESSED_PIECE_BYTES if is_compressed(path) else _PIECE_BYTES
        distance = piece / share
        begin = offset * (distance - piece) - passed[piece]
        passed[piece] += size
        numbers = range(max(0, math.floor((-piece - begin) / distance) + 1), math.ceil((size - begin) / distance))
        starts = [begin + number * distance for number in numbers]
        ends = [(max(0, int(start)), min(size, int(start + piece))) for start in starts]
        if not is_compressed(path):
            yield from ((path, start, stop) for start, stop in ends)
        elif ends:
            yield path, 0, sum(stop - start for start, stop in ends)


def _read(path: str, start: int, stop: int) -> Piece:
    if not is_compressed(path):
        (text_range,) = file_ranges(path, 1, "")  # raises UserError if the file is not text
        blocks = list(read_range(text_range._replace(start=start, stop=stop)))
        lines = [line for block in blocks for line in block.lines]
        return Piece(lines, sum(map(len, lines)) + len(lines))
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        data = stream.read(stop)
    text = iter([_decompressed(path, data)])
    return Piece([line for block in text_blocks("", 0, text) for line in block.lines], len(data))


def _decompressed(path: str, data: bytes) -> bytes:
    """The text of a compressed file's first bytes, which may end anywhere.

    A file may have several members, which are compressed one by one.
    """
    text = b""
    while data:
        member = bz2.BZ2Decompressor() if path.lower().endswith(".bz2") else zlib.decompressobj(wbits=31)
        try:
            text += member.decompress(data)
        except (OSError, zlib.error) as error:
            raise UserError(f"{path} is damaged or not compressed as its name says: {error}") from error
        data = member.unused_data
    return text
