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
from trainer.saved_model import save_model
from trainer.word2vec_format import ExportError

_BYTES_AT_ONCE = 1 << 20
_WORDS_LOOKED_UP = 1000  # in the SavedModel, to check it
_DIFFERS = "{} does not hold what was written to it: check the storage, then repeat the run with --resume"


def export(
    dataset: Dataset, embeddings: np.ndarray, directory: str, before_replacing: Callable[[], None] = lambda: None
) -> list[str]:
    """Writes all formats to a temporary directory, reads them back, and only then replaces older files.

    Only the SavedModel has [PAD] and [UNK], as zero vectors. The other formats have words alone.

    Args:
        dataset: the dataset with the words and the transform graph.
        embeddings: [V, D] float32.
        directory: the model directory.
        before_replacing: is called when all is written, before the first of the older files is replaced.

    Returns:
        The names of the files and folders in `directory`.

    Raises:
        ExportError: a file that was read back differs from what was written.
        UserError: the dataset has been replaced since it was opened, so that its words are not those of the vectors.
    """
    with plain_path(directory) as plain:
        temporary = os.path.join(plain, uuid.uuid4().hex[:8] + TEMPORARY_SUFFIX)
        gfile.makedirs(temporary)
        try:
            with cleaning_up(lambda: gfile.rmtree(temporary)):
                _write_all(dataset, embeddings, temporary)
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


def _write_all(dataset: Dataset, embeddings: np.ndarray, directory: str) -> None:
    """Writes all formats to a directory, and reads them back."""
    words, vectors = dataset.words()[FIRST_WORD_ID:], embeddings[FIRST_WORD_ID:]

    def path(name: str) -> str:
        return os.path.join(directory, name)

    with ThreadPoolExecutor(1) as pool:  # makes the SavedModel while numbers are formatted
        saved = pool.submit(_write_saved_model, path(SAVED_MODEL), dataset, embeddings, words[:_WORDS_LOOKED_UP])
        with _checked(path(VECTORS_TEXT)) as write_lines, _checked(path(VECTORS_TABLE)) as write_rows:
            for lines, rows in word2vec_format.text_pieces(words, vectors):
                write_lines(lines)
                write_rows(rows)
        with _checked(path(VECTORS_BINARY)) as write:
            for piece in word2vec_format.binary_pieces(words, vectors):
                write(piece)
        with _checked(path(METADATA)) as write:
            write("".join(word + "\n" for word in words).encode())
        saved.result()


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


def _write_saved_model(path: str, dataset: Dataset, embeddings: np.ndarray, first_words: Sequence[str]) -> None:
    """Writes the SavedModel, loads it, and compares the vectors of the first words."""
    save_model(dataset, embeddings, path)
    found = tf.saved_model.load(path).signatures["embed_words"](words=tf.constant(first_words, tf.string))["vectors"]
    if not np.array_equal(found, embeddings[FIRST_WORD_ID : FIRST_WORD_ID + len(first_words)]):
        raise ExportError(_DIFFERS.format(os.path.basename(path)))
