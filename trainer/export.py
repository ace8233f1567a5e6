"""Trained embeddings -> the files that other programs load. Each file is read back before it replaces an older one.

vectors.bin, vectors.txt     word2vec's formats, which gensim and others read
vectors.tsv, metadata.tsv    the Embedding Projector's vectors and words
saved_model/                 words or text -> vectors, nearest neighbours; TensorFlow alone loads it
context_vectors.bin          the vectors of words as context, in word2vec's binary format
vocabulary.txt               the words with their counts, as word2vec.c's -save-vocab writes them
state/                       what training on needs, see trainer.state
"""

import contextlib
import os
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.io import gfile

from trainer import word2vec_format
from trainer.dataset import Dataset
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.interrupt import cleaning_up
from trainer.layout import (
    CONTEXT_VECTORS,
    COUNTS,
    DEFAULT_EXPORTS,
    EXPORTS,
    METADATA,
    SAVED_MODEL,
    STATE_ACCUMULATORS,
    STATE_FILE,
    STATE_FOLDER,
    STATE_TABLES,
    STATE_VOCABULARY,
    TEMPORARY_SUFFIX,
    VECTORS_BINARY,
    VECTORS_TABLE,
    VECTORS_TEXT,
)
from trainer.plain_path import plain_path
from trainer.saved_model import SavedModelWriter
from trainer.state import CONTEXTS, TARGETS, FileSum, array_header, state_json
from trainer.word2vec_format import ExportError

_BYTES_AT_ONCE = 1 << 20
_WORDS_LOOKED_UP = 1000  # in the SavedModel, to check it
_DIFFERS = "{} does not hold what was written to it: check the storage, then repeat the run with --resume"

Write = Callable[[bytes], None]


@dataclass(frozen=True)
class Others:
    """What is exported beside the target embeddings.

    Args:
        contexts: the blocks of the context embeddings, which are like those of the target embeddings.
        optimizer: the value of --optimizer, for the state.
        accumulators: blocks [n] of what row-wise Adagrad has added up for each table; none for another optimizer.
        keeps_state: whether to write the state.
    """

    contexts: Iterator[np.ndarray]
    optimizer: str
    accumulators: Sequence[Iterator[np.ndarray]]
    keeps_state: bool


def export(
    dataset: Dataset,
    pieces: Iterator[np.ndarray],
    embedding_dim: int,
    directory: str,
    before_replacing: Callable[[], None] = lambda: None,
    names: Sequence[str] = DEFAULT_EXPORTS,
    others: Others | None = None,
) -> list[str]:
    """Writes files to a temporary directory, reads them back, and only then replaces older ones.

    Only the SavedModel and the state have [PAD] and [UNK]. They are zero vectors in the SavedModel.

    The table of embeddings comes in pieces, each of which is dropped before the next is taken. So this function holds
    one piece at a time. It holds a table when `pieces` has ended: then it loads the SavedModel to check it.

    Args:
        dataset: the dataset with the words and the transform graph.
        pieces: consecutive blocks of rows [n, D] float32, V rows in all, those of trainer.row_blocks.row_blocks.
        embedding_dim: D.
        directory: the model directory.
        before_replacing: is called when all is written, before the first of the older files is replaced.
        names: which files to write, of trainer.layout.EXPORTS. Older files of other names are removed.
        others: what context_vectors.bin and the state are made of. It is taken before the first piece. None if neither
            is to be written.

    Returns:
        The names of the files and folders in `directory`.

    Raises:
        ExportError: a file that was read back differs from what was written.
        ValueError: a piece is not as it should be, or the pieces do not add up to V rows.
        UserError: the dataset has been replaced since it was opened, so that its words are not those of the vectors.
    """
    written = [name for name in EXPORTS if name in names] + ([STATE_FOLDER] if others and others.keeps_state else [])
    with plain_path(directory) as plain:
        temporary = os.path.join(plain, uuid.uuid4().hex[:8] + TEMPORARY_SUFFIX)
        gfile.makedirs(temporary)
        try:
            with cleaning_up(lambda: gfile.rmtree(temporary)):
                _write_all(dataset, pieces, embedding_dim, temporary, written, others)
                dataset.check_unchanged()
                before_replacing()
                for name in (*EXPORTS, STATE_FOLDER):
                    _replace(os.path.join(plain, name), os.path.join(temporary, name) if name in written else None)
        finally:
            if gfile.exists(temporary):  # in object storage, a directory vanishes with its last file
                gfile.rmtree(temporary)
    return written


def _replace(final: str, new: str | None) -> None:
    """Puts a new file or folder in place of an older one, or removes the older one."""
    marker = os.path.join(final, STATE_FILE)
    if gfile.exists(marker):  # a state that is half removed must not be taken for a whole one
        gfile.remove(marker)
    if gfile.isdir(final):
        gfile.rmtree(final)
    elif new is None and gfile.exists(final):
        gfile.remove(final)
    if new is not None:
        gfile.rename(new, final, overwrite=True)


def _write_all(
    dataset: Dataset,
    pieces: Iterator[np.ndarray],
    embedding_dim: int,
    directory: str,
    names: Sequence[str],
    others: Others | None,
) -> None:
    """Writes the files and folders with some names to a directory, and reads them back."""
    words, folder = dataset.words(), os.path.join(directory, STATE_FOLDER)
    sums: dict[str, FileSum] = {}
    with_state = others is not None and STATE_FOLDER in names
    if with_state:
        gfile.makedirs(folder)

    def opened(name: str) -> contextlib.AbstractContextManager[Write]:
        """Opens a file to write to it, or nothing if it is not to be written."""
        if name in STATE_TABLES:
            return _checked(os.path.join(folder, name), sums) if with_state else _nowhere()
        return _checked(os.path.join(directory, name)) if name in names else _nowhere()

    if others and (with_state or CONTEXT_VECTORS in names):
        with opened(CONTEXT_VECTORS) as write_binary, opened(CONTEXTS) as write_array:
            _write_table(words, others.contexts, embedding_dim, write_binary, write_array)
    _write_targets(dataset, words, pieces, embedding_dim, directory, names, opened)
    with opened(METADATA) as write:
        write("".join(word + "\n" for word in words[FIRST_WORD_ID:]).encode())
    with opened(COUNTS) as write:
        write(b"".join(dataset.vocabulary.splitlines(keepends=True)[FIRST_WORD_ID:]).replace(b"\t", b" "))
    if others and with_state:
        for name, blocks in zip(STATE_ACCUMULATORS, others.accumulators, strict=False):
            with _checked(os.path.join(folder, name), sums) as write:
                write(array_header([len(words)]))
                for block in blocks:
                    _write_numbers(write, block)
        with _checked(os.path.join(folder, STATE_VOCABULARY), sums) as write:
            write(dataset.vocabulary)
        with _checked(os.path.join(folder, STATE_FILE)) as write:
            write(state_json(len(words), embedding_dim, others.optimizer, dataset.fingerprint, sums))


def _write_targets(
    dataset: Dataset,
    words: Sequence[str],
    pieces: Iterator[np.ndarray],
    embedding_dim: int,
    directory: str,
    names: Sequence[str],
    opened: Callable[[str], contextlib.AbstractContextManager[Write]],
) -> None:
    """Writes all files with the target embeddings."""
    path = os.path.join(directory, SAVED_MODEL)
    saved_model = SavedModelWriter(dataset, embedding_dim, path) if SAVED_MODEL in names else None
    has_text = VECTORS_TEXT in names or VECTORS_TABLE in names
    first_vectors = np.zeros([0, embedding_dim], np.float32)
    with (
        ThreadPoolExecutor(2) as pool,  # makes the SavedModel while numbers are formatted
        opened(VECTORS_TEXT) as write_lines,
        opened(VECTORS_TABLE) as write_table,
        opened(VECTORS_BINARY) as write_binary,
        opened(TARGETS) as write_array,
    ):
        graph = pool.submit(saved_model.write_graph) if saved_model else None

        def take(piece: np.ndarray, their_words: Sequence[str], named: np.ndarray) -> None:
            nonlocal first_vectors
            rows = pool.submit(saved_model.write_rows, piece) if saved_model else None
            first_vectors = np.concatenate([first_vectors, named[: _WORDS_LOOKED_UP - len(first_vectors)]])
            for lines, table in word2vec_format.text_rows(their_words, named) if has_text else ():
                write_lines(lines)
                write_table(table)
            if rows:
                rows.result()

        write_lines(word2vec_format.first_line(len(words) - FIRST_WORD_ID, embedding_dim))
        _write_table(words, pieces, embedding_dim, write_binary, write_array, take)
        if saved_model and graph:
            graph.result()
            first_words = words[FIRST_WORD_ID:][: len(first_vectors)]
            finished = pool.submit(_finish_saved_model, saved_model, path, first_words, first_vectors)
        # Meanwhile, the other files are read back.
    if saved_model:
        finished.result()


def _write_table(
    words: Sequence[str],
    pieces: Iterator[np.ndarray],
    embedding_dim: int,
    write_binary: Write,
    write_array: Write,
    take: Callable[[np.ndarray, Sequence[str], np.ndarray], None] = lambda piece, words, named: None,
) -> None:
    """Writes a table that comes in pieces.

    Args:
        words: the token of each row.
        pieces: the rows, as for `export`.
        embedding_dim: D.
        write_binary: writes to a file in word2vec's binary format.
        write_array: writes to a file in NumPy's format.
        take: is called with each piece, and with its words and their rows, which are not [PAD] and [UNK].
    """
    write_binary(word2vec_format.first_line(len(words) - FIRST_WORD_ID, embedding_dim))
    write_array(array_header([len(words), embedding_dim]))
    start = 0
    for piece in pieces:
        _check_piece(piece, start, len(words), embedding_dim)
        named = piece[max(0, FIRST_WORD_ID - start) :]
        start += len(piece)
        their_words = words[start - len(named) : start]
        take(piece, their_words, named)
        for content in word2vec_format.binary_rows(their_words, named):
            write_binary(content)
        _write_numbers(write_array, piece)
        del piece, named  # they may be views, which would keep the caller's table in memory
    if start != len(words):
        raise ValueError(f"the pieces have {start} rows: expected {len(words)}")


def _write_numbers(write: Write, values: np.ndarray) -> None:
    """Writes the numbers of a block, piece by piece."""
    numbers = np.ascontiguousarray(values, "<f4").reshape(-1)
    step = _BYTES_AT_ONCE // numbers.itemsize
    for start in range(0, len(numbers), step):
        write(numbers[start : start + step].tobytes())


def _check_piece(piece: np.ndarray, start: int, vocab_size: int, embedding_dim: int) -> None:
    """Raises a ValueError if a piece of the table, which begins at row `start`, is not as it should be."""
    if piece.dtype != np.float32 or piece.ndim != 2 or piece.shape[1] != embedding_dim or not len(piece):
        raise ValueError(f"a piece is {list(piece.shape)} {piece.dtype}: expected [n > 0, {embedding_dim}] float32")
    if start + len(piece) > vocab_size:
        raise ValueError(f"the pieces have {start + len(piece)} rows or more: expected {vocab_size}")


@contextlib.contextmanager
def _nowhere() -> Iterator[Write]:
    yield lambda content: None


@contextlib.contextmanager
def _checked(path: str, sums: dict[str, FileSum] | None = None) -> Iterator[Write]:
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
        raise ExportError(_DIFFERS.format(os.path.basename(path)))
    if sums is not None:
        sums[os.path.basename(path)] = FileSum(num_bytes, written)


def _finish_saved_model(writer: SavedModelWriter, path: str, words: Sequence[str], vectors: np.ndarray) -> None:
    """Puts the vectors into the SavedModel, loads it, and compares the vectors of some words."""
    writer.finish()
    with tf.device("CPU:0"):  # a table that several GPUs have trained may be too large for one
        signature = tf.saved_model.load(path).signatures["embed_words"]
        found = signature(words=tf.constant(words, tf.string))["vectors"]
    if not np.array_equal(found, vectors):
        raise ExportError(_DIFFERS.format(os.path.basename(path)))
