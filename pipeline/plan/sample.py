"""A share of the text, in small pieces from all over it."""

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

_PIECE_BYTES = 1 << 14  # small, since words come in clusters
_COMPRESSED_PIECE_BYTES = 1 << 20  # from a file's beginning, since it cannot be entered in the middle
_READS_AT_ONCE = 16


class Piece(NamedTuple):
    """Lines that were read together."""

    lines: list[bytes]  # as a TextBlock's
    bytes: int  # that they take in their file, compressed or not


def text_files(patterns: Sequence[str]) -> dict[str, int]:
    """The sizes in bytes of the files that the patterns match, by path; a file that two match is there once."""
    found = {}
    for match in FileSystems.match([as_pattern(pattern) for pattern in patterns]):
        for file in match.metadata_list:
            found[file.path] = file.size_in_bytes
    return dict(sorted(found.items()))


def read_pieces(files: dict[str, int], share: float, offset: float) -> Iterator[Piece]:
    """Pieces at even distances.

    Args:
        files: sizes in bytes by path.
        share: of the bytes, in (0, 1].
        offset: where the first piece is, as a part of the distance, in [0, 1): equal for equal samples.

    Raises:
        UserError: a file cannot be read, or is no text.
    """
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:  # an object store takes its time for each, whatever the size
        yield from pool.map(lambda place: _read(*place), _places(files, share, offset))


def _places(files: dict[str, int], share: float, offset: float) -> Iterator[tuple[str, int, int]]:
    """(path, start, stop) of each piece, in bytes of the file; a compressed one is taken from its beginning only.

    The files of either kind are taken for one long file, in which pieces begin at even distances.
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
        (text_range,) = file_ranges(path, 1, "")  # raises if it is no text
        blocks = list(read_range(text_range._replace(start=start, stop=stop)))
        lines = [line for block in blocks for line in block.lines]
        return Piece(lines, sum(map(len, lines)) + len(lines))
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        data = stream.read(stop)
    blocks = text_blocks("", 0, iter([_decompressed(path, data)]))
    return Piece([line for block in blocks for line in block.lines], len(data))


def _decompressed(path: str, data: bytes) -> bytes:
    """The text of the first bytes of a file, which may have several members and end anywhere."""
    text = b""
    while data:
        member = bz2.BZ2Decompressor() if path.lower().endswith(".bz2") else zlib.decompressobj(wbits=31)
        try:
            text += member.decompress(data)
        except (OSError, zlib.error) as error:
            raise UserError(f"{path} is damaged or not compressed as its name says: {error}") from error
        data = member.unused_data
    return text
