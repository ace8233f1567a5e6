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

from trainer import vectors as word2vec
from trainer.dataset import FIRST_WORD_ID, Dataset
from trainer.vectors import ExportError

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
    names = ["vectors.bin", "vectors.txt", "vectors.tsv", "metadata.tsv", "saved_model"]
    binary_file, text_file, table_file, metadata_file, model = (os.path.join(temporary, name) for name in names)
    gfile.makedirs(temporary)
    try:
        with ThreadPoolExecutor(1) as pool:  # so that the SavedModel is made while numbers are formatted
            saved = pool.submit(_write_saved_model, model, dataset, embeddings, words[:1000])
            with _checked(text_file) as write_lines, _checked(table_file) as write_rows:
                for lines, rows in word2vec.text_pieces(words, vectors):
                    write_lines(lines)
                    write_rows(rows)
            with _checked(binary_file) as write:
                for piece in word2vec.binary_pieces(words, vectors):
                    write(piece)
            with _checked(metadata_file) as write:
                write("".join(word + "\n" for word in words).encode())
            saved.result()
        for name in names:
            path = os.path.join(directory, name)
            if gfile.isdir(path):
                gfile.rmtree(path)
            gfile.rename(os.path.join(temporary, name), path, overwrite=True)
    finally:
        if gfile.exists(temporary):  # where directories are only names, it has gone with its last file
            gfile.rmtree(temporary)
    return names


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


def _graph(*signature: tf.TensorSpec) -> Callable:
    """tf.function of that signature; without AutoGraph, which would take .3 s to find no control flow to convert."""
    return tf.function(input_signature=signature, autograph=False)


class EmbeddingModel(tf.Module):
    """What the SavedModel holds: the transform graph, the vectors, and the signatures below.

    Args:
        dataset: gives the transform graph and the vocabulary.
        embeddings: [V, D] float32.
    """

    def __init__(self, dataset: Dataset, embeddings: np.ndarray):
        super().__init__()
        embeddings = embeddings.copy()
        embeddings[:FIRST_WORD_ID] = 0
        norms = np.linalg.norm(embeddings, axis=1)
        self.vectors = tf.Variable(embeddings, trainable=False)  # [V, D]
        self.inverse_norms = tf.Variable(np.where(norms > 0, 1 / np.maximum(norms, 1e-30), 0), dtype=tf.float32)
        self.transform = tf.saved_model.load(dataset.transform_fn)
        rows = tf.lookup.TextFileIndex.LINE_NUMBER
        path = os.path.join(dataset.directory, "vocabulary.tsv")
        self.ids = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(path, tf.string, 0, tf.int64, rows, delimiter="\t"), default_value=1
        )
        self.words = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(path, tf.int64, rows, tf.string, 0, delimiter="\t"), default_value=""
        )

    @_graph(tf.TensorSpec([None], tf.string, name="words"))
    def embed_words(self, words):
        """Words [N] -> vectors [N, D]; zeros for a word that is not in the vocabulary."""
        return {"vectors": tf.gather(self.vectors, self.ids.lookup(words))}

    @_graph(tf.TensorSpec([None], tf.string, name="text"))
    def embed_text(self, text):
        """Raw lines [N] -> the mean of the vectors of their words in the vocabulary [N, D]; zeros if there are none."""
        ids = self.transform.transform_fn({"text": text})["ids"]
        known = tf.ragged.boolean_mask(ids, ids >= FIRST_WORD_ID)
        sums = tf.math.segment_sum(tf.gather(self.vectors, known.flat_values), known.value_rowids())
        sums = tf.pad(sums, [[0, tf.shape(text)[0] - tf.shape(sums)[0]], [0, 0]])  # lines without words at the end
        lengths = tf.cast(known.row_lengths(), tf.float32)
        return {"vectors": tf.math.divide_no_nan(sums, lengths[:, tf.newaxis])}

    @_graph(tf.TensorSpec([None], tf.string, name="text"))
    def tokenize(self, text):
        """Raw lines [N] -> ids [N, length of the longest], filled up with 0; 1 is a word out of the vocabulary."""
        return {"ids": self.transform.transform_fn({"text": text})["ids"].to_tensor(0)}

    @_graph(tf.TensorSpec([None], tf.string, name="words"), tf.TensorSpec([], tf.int32, name="k"))
    def nearest(self, words, k):
        """Words [N] and k -> the k words nearest to each, [N, k], and their cosines [N, k], the nearest first.

        A word is not its own neighbour. One that is not in the vocabulary has empty strings and zeros.
        """
        ids = self.ids.lookup(words)
        queries = tf.gather(self.vectors, ids) * tf.gather(self.inverse_norms, ids)[:, tf.newaxis]
        cosines = tf.matmul(queries, self.vectors, transpose_b=True) * self.inverse_norms
        column = tf.range(tf.shape(cosines, tf.int64)[1])
        excluded = (column < FIRST_WORD_ID) | (column == ids[:, tf.newaxis])
        k = tf.minimum(k, tf.maximum(tf.shape(cosines)[1] - FIRST_WORD_ID - 1, 0))
        best = tf.math.top_k(tf.where(excluded, -2.0, cosines), k)
        known = (ids >= FIRST_WORD_ID)[:, tf.newaxis]
        neighbours = self.words.lookup(tf.cast(best.indices, tf.int64))
        return {"words": tf.where(known, neighbours, ""), "cosines": tf.where(known, best.values, 0.0)}


def save_model(dataset: Dataset, embeddings: np.ndarray, path: str) -> None:
    """Writes the SavedModel."""
    model = EmbeddingModel(dataset, embeddings)
    signatures = {name: getattr(model, name) for name in ("embed_words", "embed_text", "tokenize", "nearest")}
    tf.saved_model.save(model, path, signatures=signatures)
