"""Trained embeddings -> every format that others load. Each file is read back before it gets its name.

vectors.bin, vectors.txt        word2vec's formats, for gensim and others
vectors.tsv, metadata.tsv       the Embedding Projector's
saved_model/                    words or text -> vectors, neighbours; needs TensorFlow alone
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
from trainer.dataset import FIRST_WORD_ID, Dataset
from trainer.layout import EXPORTS
from trainer.saved_model import save_model
from trainer.word2vec_format import ExportError

_BYTES_AT_ONCE = 1 << 20


def export(dataset: Dataset, embeddings: np.ndarray, directory: str) -> list[str]:
    """Writes all formats to a temporary directory, reads them back, and only then replaces what was there.

    [PAD] and [UNK] are in none but the SavedModel, where they are zero vectors.

    Args:
        dataset: gives the words and the transform graph.
        embeddings: [V, D] float32.
        directory: the model directory.

    Returns:
        The names written, relative to `directory`.

    Raises:
        ExportError: a file was not read back as it was written.
    """
    words, vectors = dataset.words()[FIRST_WORD_ID:], embeddings[FIRST_WORD_ID:]
    temporary = os.path.join(directory, f"{uuid.uuid4().hex[:8]}.tmp")
    binary_file, text_file, table_file, metadata_file, model = (os.path.join(temporary, name) for name in EXPORTS)
    gfile.makedirs(temporary)
    try:
        with ThreadPoolExecutor(1) as pool:  # so that the SavedModel is made while numbers are formatted
            saved = pool.submit(_write_saved_model, model, dataset, embeddings, words[:1000])
            with _checked(text_file) as write_lines, _checked(table_file) as write_rows:
                for lines, rows in word2vec_format.text_pieces(words, vectors):
                    write_lines(lines)
                    write_rows(rows)
            with _checked(binary_file) as write:
                for piece in word2vec_format.binary_pieces(words, vectors):
                    write(piece)
            with _checked(metadata_file) as write:
                write("".join(word + "\n" for word in words).encode())
            saved.result()
        for name in EXPORTS:
            path = os.path.join(directory, name)
            if gfile.isdir(path):
                gfile.rmtree(path)
            gfile.rename(os.path.join(temporary, name), path, overwrite=True)
    finally:
        if gfile.exists(temporary):  # where directories are only names, it has gone with its last file
            gfile.rmtree(temporary)
    return list(EXPORTS)


@contextlib.contextmanager
def _checked(path: str) -> Iterator[Callable[[bytes], None]]:
    """Gives a function that writes to a new file, and in the end reads the file back.

    Raises:
        ExportError: it does not hold what was written.
    """
    written = read = 0

    def write(piece):
        nonlocal written
        written = zlib.crc32(piece, written)
        file.write(piece)

    with gfile.GFile(path, "wb") as file:
        yield write
    with gfile.GFile(path, "rb") as file:
        while piece := file.read(_BYTES_AT_ONCE):
            read = zlib.crc32(piece, read)
    if read != written:
        raise ExportError(f"{path} was not read back as it was written")


def _write_saved_model(path: str, dataset: Dataset, embeddings: np.ndarray, some_words: Sequence[str]) -> None:
    """Writes the SavedModel, and looks up in it the words that come first."""
    save_model(dataset, embeddings, path)
    found = tf.saved_model.load(path).signatures["embed_words"](words=tf.constant(some_words, tf.string))["vectors"]
    if not np.array_equal(found, embeddings[FIRST_WORD_ID : FIRST_WORD_ID + len(some_words)]):
        raise ExportError(f"{path} was not read back as it was written")
