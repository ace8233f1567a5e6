"""The formats that hold the vectors of one table: what they have in common, and the simple ones among them.

A format is a function with a `with` block. It begins a new file or folder, and gives a function that takes the blocks
of the table one by one. At the end of the `with` block, it completes the file or folder and reads it back. So a table
goes to several files at once, and is never in memory as a whole.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from trainer import word2vec_format
from trainer.checked_file import Write, checked_file, write_numbers
from trainer.dataset import Dataset
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.state import FileSum, array_header


class Table(NamedTuple):
    """What the formats know of a table before its first block comes."""

    dataset: Dataset
    words: Sequence[str]  # the token of each row; [PAD] and [UNK] come first
    embedding_dim: int  # D

    @property
    def num_named(self) -> int:
        """How many rows are vectors of words."""
        return len(self.words) - FIRST_WORD_ID


class Block(NamedTuple):
    """Consecutive rows of a table."""

    rows: np.ndarray  # [n, D] float32
    named: np.ndarray  # the rows without those of [PAD] and [UNK], [m, D]
    words: Sequence[str]  # the words of `named`


Take = Callable[[Block], None]
# A format is made of a table and the path of its file or folder.
Format = Callable[[Table, str], contextlib.AbstractContextManager[Take]]


@contextlib.contextmanager
def binary(table: Table, path: str) -> Iterator[Take]:
    """Word2vec's binary format."""
    with checked_file(path) as write:
        write(word2vec_format.first_line(table.num_named, table.embedding_dim))

        def take(block: Block) -> None:
            for content in word2vec_format.binary_rows(block.words, block.named):
                write(content)

        yield take


@contextlib.contextmanager
def text(table: Table, path: str, tsv_path: str) -> Iterator[Take]:
    """Word2vec's text format and the Embedding Projector's table, whose numbers are formatted only once.

    Either path may be empty, so that its file is not written.
    """
    with _checked_or_nowhere(path) as write_lines, _checked_or_nowhere(tsv_path) as write_tsv:
        write_lines(word2vec_format.first_line(table.num_named, table.embedding_dim))

        def take(block: Block) -> None:
            for lines, tsv in word2vec_format.text_rows(block.words, block.named):
                write_lines(lines)
                write_tsv(tsv)

        yield take


@contextlib.contextmanager
def array(table: Table, path: str, sums: dict[str, FileSum]) -> Iterator[Take]:
    """NumPy's format with all rows, for the state of a model.

    Args:
        table: the table.
        path: the path of the file.
        sums: gets the size and the checksum of the file, under its name.
    """
    with checked_file(path, sums) as write:
        write(array_header([len(table.words), table.embedding_dim]))
        yield lambda block: write_numbers(write, block.rows)


def _checked_or_nowhere(path: str) -> contextlib.AbstractContextManager[Write]:
    return checked_file(path) if path else contextlib.nullcontext(lambda content: None)


def hand_out(table: Table, pieces: Iterator[np.ndarray], takes: Sequence[Take]) -> None:
    """Gives each block of a table to all formats at the same time, and drops it before it takes the next.

    Args:
        table: the table.
        pieces: consecutive blocks of rows [n, D] float32, V rows in all.
        takes: the functions that the formats gave.

    Raises:
        ValueError: a piece is not as it should be, or the pieces do not add up to V rows.
    """
    start = 0
    with ThreadPoolExecutor(max(1, len(takes))) as pool:
        for piece in pieces:
            _check_piece(piece, start, table)
            named = piece[max(0, FIRST_WORD_ID - start) :]
            start += len(piece)
            block = Block(piece, named, table.words[start - len(named) : start])
            for future in [pool.submit(take, block) for take in takes]:
                future.result()
            del piece, named, block  # they may be views, which would keep the caller's table in memory
    if start != len(table.words):
        raise ValueError(f"the pieces have {start} rows: expected {len(table.words)}")


def _check_piece(piece: np.ndarray, start: int, table: Table) -> None:
    """Raises a ValueError if a piece of the table, which begins at row `start`, is not as it should be."""
    dimension = table.embedding_dim
    if piece.dtype != np.float32 or piece.ndim != 2 or piece.shape[1] != dimension or not len(piece):
        raise ValueError(f"a piece is {list(piece.shape)} {piece.dtype}: expected [n > 0, {dimension}] float32")
    if start + len(piece) > len(table.words):
        raise ValueError(f"the pieces have {start + len(piece)} rows or more: expected {len(table.words)}")
