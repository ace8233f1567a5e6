"""Reads a sample of the text: small pieces from all over it."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pipeline.text import json_lines, parquet
from pipeline.text.compressed import is_compressed
from pipeline.text.contents import check_head, chunks_of, open_file
from pipeline.text.files import file_ranges, read_range
from pipeline.text.inputs import as_pattern, find_files, input_root
from pipeline.text.lines import text_blocks
from pipeline.text.sources import Source, Table

_PIECE_BYTES = 1 << 14  # small, because words come in clusters
_COMPRESSED_PIECE_BYTES = 1 << 20  # large, because a compressed file can only be read from its beginning
_READS_AT_ONCE = 16
_AS_TEXT = Source()


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
    size: int  # of the file, in bytes
    source: Source  # how the files are read


def text_files(patterns: Sequence[str], source: Source = _AS_TEXT) -> dict[str, int]:
    """The sizes in bytes of all files that match one of the patterns and are read, by path."""
    spelled = [as_pattern(pattern) for pattern in patterns]
    root = input_root(spelled)
    found = sorted(find_files(spelled))
    return {file.path: file.size for file in found if not source.leaves_out(file.path.removeprefix(root))}


def read_pieces(files: dict[str, int], share: float, offset: float, source: Source = _AS_TEXT) -> Iterator[Piece]:
    """Reads pieces that lie at equal distances.

    Args:
        files: the files' sizes in bytes, by path.
        share: how much of the bytes to read, in (0, 1].
        offset: where the first piece begins, as a fraction of the distance between pieces, in [0, 1).
        source: how the files are read.

    Raises:
        UserError: a file cannot be read, or is not text.
    """
    compressed = {path: size for path, size in files.items() if is_compressed(path)}
    plain = {path: size for path, size in files.items() if path not in compressed}
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:  # an object store takes its time for each read, whatever the size
        for some, piece_bytes in ((plain, _PIECE_BYTES), (compressed, _COMPRESSED_PIECE_BYTES)):
            places = itertools.groupby(_places(some, piece_bytes, share, offset, source), lambda place: place.number)
            yield from pool.map(_read_piece, [list(of_piece) for _, of_piece in places])


def _places(files: dict[str, int], piece_bytes: int, share: float, offset: float, source: Source) -> Iterator[_Place]:
    """The places of all pieces.

    The files are treated as one long file in which pieces begin at equal distances. The pieces of a compressed file
    are then moved together to its beginning, and those of a Parquet file to the beginnings of its row groups.
    """
    distance = piece_bytes / share
    passed = 0
    for path, size in files.items():
        begin = offset * (distance - piece_bytes) - passed
        passed += size
        numbers = range(max(0, math.floor((-piece_bytes - begin) / distance) + 1), math.ceil((size - begin) / distance))
        starts = [begin + number * distance for number in numbers]
        ends = [(max(0, int(start)), min(size, int(start + piece_bytes))) for start in starts]
        table = source.table(path)
        if not is_compressed(path) and (table is None or table.format != "parquet"):
            for number, (start, stop) in zip(numbers, ends, strict=True):
                yield _Place(number, path, start, stop, number == numbers[0], size, source)
        elif ends and size:
            yield _Place(numbers[0], path, 0, sum(stop - start for start, stop in ends), True, size, source)


def _read_piece(places: Iterable[_Place]) -> Piece:
    parts = [_read(place) for place in places]
    return Piece([line for part in parts for line in part.lines], sum(part.bytes for part in parts))


def _read(place: _Place) -> Piece:
    path, start, stop = place.path, place.start, place.stop
    table = place.source.table(path)
    if table and table.format == "parquet":
        lines, share = _read_rows(path, table, stop / place.size)
        return Piece(lines, round(share * place.size))
    (text_range, *_) = file_ranges(path, 1, "", place.source)  # raises UserError if the file is not text
    if is_compressed(path):
        return Piece(*_read_beginning(path, table, stop))
    if place.is_first and start:
        check_head(path)
    blocks = list(read_range(text_range._replace(start=start, stop=stop)))
    lines = [line for block in blocks for line in block.lines]
    return Piece(lines, stop - start if table else sum(map(len, lines)) + len(lines))


def _read_beginning(path: str, table: Table | None, num_bytes: int) -> tuple[list[bytes], int]:
    """The lines at the beginning of a compressed file.

    Args:
        path: of the file.
        table: how to read it.
        num_bytes: how many of the compressed bytes to read at least, if there are as many.

    Returns:
        The lines, and how many bytes were read.
    """
    with open_file(path) as raw:
        num_read = 0

        def chunks() -> Iterator[bytes]:
            nonlocal num_read
            for chunk in chunks_of(path, raw):
                yield chunk
                num_read = raw.tell()
                if num_read >= num_bytes:
                    return

        text = json_lines.rows_text(path, chunks(), table, Counter()) if table else chunks()
        return [line for block in text_blocks("", 0, [text]) for line in block.lines], num_read


def _read_rows(path: str, table: Table, share: float) -> tuple[list[bytes], float]:
    """The lines of a part of a Parquet file.

    Args:
        path: of the file.
        table: how to read it.
        share: how much of the file to read, in (0, 1].

    Returns:
        The lines, and the share that was read.
    """
    with open_file(path) as raw:
        file = parquet.TableFile(path, raw, table)
        text, num_rows = file.sample(round(share * file.num_rows) or 1)
        lines = [line for block in text_blocks("", 0, [[text]]) for line in block.lines]
        return lines, num_rows / max(1, file.num_rows)
