"""Reads a sample of the text: small pieces from all over it."""

import bz2
import itertools
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipeline.errors import UserError
from pipeline.text.encoding import check_encoding
from pipeline.text.files import check_head, file_ranges, is_compressed, read_range
from pipeline.text.inputs import as_pattern, find_files
from pipeline.text.lines import text_blocks

_PIECE_BYTES = 1 << 14  # small, because words come in clusters
_COMPRESSED_PIECE_BYTES = 1 << 20  # large, because a compressed file can only be read from its beginning
_READS_AT_ONCE = 16


class Piece(NamedTuple):
    """Lines that were read together, from one file or from several that follow each other."""

    lines: list[bytes]  # valid UTF-8 without NUL
    bytes: int  # their size in the files, compressed or not


class _Place(NamedTuple):
    """Where a piece, or the part of it that lies in one file, is."""

    number: int  # of the piece
    path: str
    start: int  # byte offset
    stop: int  # byte offset
    is_first: bool  # no other place is nearer to the file's beginning


def text_files(patterns: Sequence[str]) -> dict[str, int]:
    """The sizes in bytes of all files that match one of the patterns, by path."""
    return {file.path: file.size for file in sorted(find_files(map(as_pattern, patterns)))}


def read_pieces(files: dict[str, int], share: float, offset: float) -> Iterator[Piece]:
    """Reads pieces that lie at equal distances.

    Args:
        files: the files' sizes in bytes, by path.
        share: how much of the bytes to read, in (0, 1].
        offset: where the first piece begins, as a fraction of the distance between pieces, in [0, 1).

    Raises:
        UserError: a file cannot be read, or is not text.
    """
    plain = {path: size for path, size in files.items() if not is_compressed(path)}
    compressed = {path: size for path, size in files.items() if is_compressed(path)}
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:  # an object store takes its time for each read, whatever the size
        for some, piece_bytes in ((plain, _PIECE_BYTES), (compressed, _COMPRESSED_PIECE_BYTES)):
            places = itertools.groupby(_places(some, piece_bytes, share, offset), lambda place: place.number)
            yield from pool.map(_read_piece, [list(of_piece) for _, of_piece in places])


def _places(files: dict[str, int], piece_bytes: int, share: float, offset: float) -> Iterator[_Place]:
    """The places of all pieces.

    The files are treated as one long file in which pieces begin at equal distances. The pieces of a compressed file
    are then moved together to its beginning.
    """
    distance = piece_bytes / share
    passed = 0
    for path, size in files.items():
        begin = offset * (distance - piece_bytes) - passed
        passed += size
        numbers = range(max(0, math.floor((-piece_bytes - begin) / distance) + 1), math.ceil((size - begin) / distance))
        starts = [begin + number * distance for number in numbers]
        ends = [(max(0, int(start)), min(size, int(start + piece_bytes))) for start in starts]
        if not is_compressed(path):
            for number, (start, stop) in zip(numbers, ends, strict=True):
                yield _Place(number, path, start, stop, number == numbers[0])
        elif ends:
            yield _Place(numbers[0], path, 0, sum(stop - start for start, stop in ends), True)


def _read_piece(places: Iterable[_Place]) -> Piece:
    parts = [_read(place) for place in places]
    return Piece([line for part in parts for line in part.lines], sum(part.bytes for part in parts))


def _read(place: _Place) -> Piece:
    path, start, stop = place.path, place.start, place.stop
    if not is_compressed(path):
        (text_range,) = file_ranges(path, 1, "")  # raises UserError if the file is not text
        if place.is_first and start:
            check_head(path)
        blocks = list(read_range(text_range._replace(start=start, stop=stop)))
        lines = [line for block in blocks for line in block.lines]
        return Piece(lines, sum(map(len, lines)) + len(lines))
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        data = stream.read(stop)
    text = _decompressed(path, data)
    check_encoding(path, text)
    return Piece([line for block in text_blocks("", 0, [[text]]) for line in block.lines], len(data))


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
