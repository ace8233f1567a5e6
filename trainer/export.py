"""Trained embeddings -> the files that other programs load. Each file is read back before it replaces an older one.

vectors.bin, vectors.txt     word2vec's formats, which gensim and others read
vectors.tsv, metadata.tsv    the Embedding Projector's vectors and words
saved_model/                 words or text -> vectors, nearest neighbours; TensorFlow alone loads it
"""

import contextlib
import os
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from tensorflow.io import gfile

from trainer import word2vec_format
from trainer.dataset import Dataset
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.interrupt import cleaning_up
from trainer.layout import (
    EXPORTS,
    METADATA,
    SAVED_MODEL,
    TEMPORARY_SUFFIX,
    VECTORS_BINARY,
    VECTORS_TABLE,
    VECTORS_TEXT,
)
from trainer.plain_path import plain_path
from trainer.saved_model import SavedModelWriter
from trainer.word2vec_format import ExportError

_BYTES_AT_ONCE = 1 << 20
_WORDS_LOOKED_UP = 1000  # in the SavedModel, to check it
_DIFFERS = "{} does not hold what was written to it: check the storage, then repeat the run with --resume"


def export(
    dataset: Dataset,
    pieces: Iterator[np.ndarray],
    embedding_dim: int,
    directory: str,
    before_replacing: Callable[[], None] = lambda: None,
) -> list[str]:
    """Writes all formats to a temporary directory, reads them back, and only then replaces older files.

    Only the SavedModel has [PAD] and [UNK], as zero vectors. The other formats have words alone.

    The table of embeddings comes in pieces, each of which is dropped before the next is taken. So this function holds
    one piece at a time. It holds a table when `pieces` has ended: then it loads the SavedModel to check it.

    Args:
        dataset: the dataset with the words and the transform graph.
        pieces: consecutive blocks of rows [n, D] float32, V rows in all, those of trainer.row_blocks.row_blocks.
        embedding_dim: D.
        directory: the model directory.
        before_replacing: is called when all is written, before the first of the older files is replaced.

    Returns:
        The names of the files and folders in `directory`.

    Raises:
        ExportError: a file that was read back differs from what was written.
        ValueError: a piece is not as it should be, or the pieces do not add up to V rows.
        UserError: the dataset has been replaced since it was opened, so that its words are not those of the vectors.
    """
    with plain_path(directory) as plain:
        temporary = os.path.join(plain, uuid.uuid4().hex[:8] + TEMPORARY_SUFFIX)
        gfile.makedirs(temporary)
        try:
            with cleaning_up(lambda: gfile.rmtree(temporary)):
                _write_all(dataset, pieces, embedding_dim, temporary)
                dataset.check_unchanged()
                before_replacing()
                for name in EXPORTS:
                    final = os.path.join(plain, name)
                    if gfile.isdir(final):
                        gfile.rmtree(final)
                    gfile.rename(os.path.join(temporary, name), final, overwrite=True)
        finally:
            if gfile.exists(temporary):  # in object storage, a directory vanishes with its last file
                gfile.rmtree(temporary)
    return list(EXPORTS)


def _write_all(dataset: Dataset, pieces: Iterator[np.ndarray], embedding_dim: int, directory: str) -> None:
    """Writes all formats to a directory, and reads them back."""

    def path(name: str) -> str:
        return os.path.join(directory, name)

    words = dataset.words()
    saved_model = SavedModelWriter(dataset, embedding_dim, path(SAVED_MODEL))
    first_vectors = np.zeros([0, embedding_dim], np.float32)
    start = 0
    with (
        ThreadPoolExecutor(2) as pool,  # makes the SavedModel while numbers are formatted
        _checked(path(VECTORS_TEXT)) as write_lines,
        _checked(path(VECTORS_TABLE)) as write_table,
        _checked(path(VECTORS_BINARY)) as write_binary,
    ):
        graph = pool.submit(saved_model.write_graph)
        first_line = word2vec_format.first_line(len(words) - FIRST_WORD_ID, embedding_dim)
        write_lines(first_line)
        write_binary(first_line)
        for piece in pieces:
            _check_piece(piece, start, dataset.vocab_size, embedding_dim)
            rows = pool.submit(saved_model.write_rows, piece)
            named = piece[max(0, FIRST_WORD_ID - start) :]
            their_words = words[start + len(piece) - len(named) : start + len(piece)]
            first_vectors = np.concatenate([first_vectors, named[: _WORDS_LOOKED_UP - len(first_vectors)]])
            for lines, table in word2vec_format.text_rows(their_words, named):
                write_lines(lines)
                write_table(table)
            for content in word2vec_format.binary_rows(their_words, named):
                write_binary(content)
            rows.result()
            start += len(piece)
            del piece, named  # they may be views, which would keep the caller's table in memory
        if start != dataset.vocab_size:
            raise ValueError(f"the pieces have {start} rows: expected {dataset.vocab_size}")
        graph.result()
        first_words = words[FIRST_WORD_ID:][: len(first_vectors)]
        finished = pool.submit(_finish_saved_model, saved_model, path(SAVED_MODEL), first_words, first_vectors)
        # Meanwhile, the other files are read back.
    finished.result()
    with _checked(path(METADATA)) as write:
        write("".join(word + "\n" for word in words[FIRST_WORD_ID:]).encode())


def _check_piece(piece: np.ndarray, start: int, vocab_size: int, embedding_dim: int) -> None:
    """Raises a ValueError if a piece of the table, which begins at row `start`, is not as it should be."""
    if piece.dtype != np.float32 or piece.ndim != 2 or piece.shape[1] != embedding_dim or not len(piece):
        raise ValueError(f"a piece is {list(piece.shape)} {piece.dtype}: expected [n > 0, {embedding_dim}] float32")
    if start + len(piece) > vocab_size:
        raise ValueError(f"the pieces have {start + len(piece)} rows or more: expected {vocab_size}")


@contextlib.contextmanager
def _checked(path: str) -> Iterator[Callable[[bytes], None]]:
    """Gives a function that writes to a new file. At the end, the file is read back.

    Raises:
        ExportError: the file does not hold what was written.
    """
    written = read = 0

    def write(piece: bytes) -> None:
        nonlocal written
        written = zlib.crc32(piece, written)
        file.write(piece)

    with gfile.GFile(path, "wb") as file:
        yield write
    with gfile.GFile(path, "rb") as file:
        while piece := file.read(_BYTES_AT_ONCE):
            read = zlib.crc32(piece, read)
    if read != written:
        raise ExportError(_DIFFERS.format(os.path.basename(path)))


def _finish_saved_model(writer: SavedModelWriter, path: str, words: Sequence[str], vectors: np.ndarray) -> None:
    """Puts the vectors into the SavedModel, loads it, and compares the vectors of some words."""
    writer.finish()
    with tf.device("CPU:0"):  # a table that several GPUs have trained may be too large for one
        signature = tf.saved_model.load(path).signatures["embed_words"]
        found = signature(words=tf.constant(words, tf.string))["vectors"]
    if not np.array_equal(found, vectors):
        raise ExportError(_DIFFERS.format(os.path.basename(path)))
