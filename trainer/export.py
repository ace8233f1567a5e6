"""Trained embeddings -> every format that others load. Each file is read back before it gets its name.

vectors.bin, vectors.txt        word2vec's formats, for gensim and others
vectors.tsv, metadata.tsv       the Embedding Projector's
saved_model/                    words or text -> vectors, neighbours; needs TensorFlow alone
"""

import os
import uuid
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.io import gfile

from trainer import vectors as word2vec
from trainer.dataset import FIRST_WORD_ID, Dataset


class ExportError(Exception):
    """A file that was written could not be read back as it should."""


def export(dataset: Dataset, embeddings: np.ndarray, directory: str) -> list[str]:
    """Writes all formats, each to a temporary name first.

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

    def text_table(path):
        with gfile.GFile(path, "wb") as file:
            for row in word2vec.format_rows(vectors):
                file.write(row.replace(b" ", b"\t") + b"\n")

    def metadata(path):
        with gfile.GFile(path, "wb") as file:
            file.write("".join(word + "\n" for word in words).encode())

    writers = {
        "vectors.bin": (lambda path: word2vec.write_binary(path, words, vectors), _check_word2vec),
        "vectors.txt": (lambda path: word2vec.write_text(path, words, vectors), _check_word2vec),
        "vectors.tsv": (text_table, _check_table),
        "metadata.tsv": (metadata, _check_metadata),
        "saved_model": (lambda path: save_model(dataset, embeddings, path), _check_saved_model),
    }
    for name, (write, check) in writers.items():
        _write_checked(os.path.join(directory, name), write, lambda path, check=check: check(path, words, vectors))
    return list(writers)


def _write_checked(path: str, write: Callable[[str], None], check: Callable[[str], bool]) -> None:
    """Writes to a temporary name, reads back, and only then replaces what was there."""
    root, extension = os.path.splitext(path)
    temporary = f"{root}.{uuid.uuid4().hex[:8]}.tmp{extension}"
    try:
        write(temporary)
        if not check(temporary):
            raise ExportError(f"{path} was not read back as it was written")
        if gfile.isdir(path):
            gfile.rmtree(path)
        gfile.rename(temporary, path, overwrite=True)
    finally:
        if gfile.exists(temporary):
            (gfile.rmtree if gfile.isdir(temporary) else gfile.remove)(temporary)


def _equal(read: np.ndarray, written: np.ndarray) -> bool:
    """Whether all numbers are the same, those below float32's normal range excepted: as text they are 0."""
    return read.shape == written.shape and bool(np.all((read == written) | (np.abs(written) < 2e-38)))


def _check_word2vec(path: str, words: Sequence[str], vectors: np.ndarray) -> bool:
    read = word2vec.load(path)
    return read.words == list(words) and _equal(read.vectors, vectors)


def _check_table(path: str, words: Sequence[str], vectors: np.ndarray) -> bool:
    del words
    with gfile.GFile(path, "rb") as file:
        return all(
            _equal(np.array(line.split(b"\t"), np.float32), vector) for line, vector in zip(file, vectors, strict=True)
        )


def _check_metadata(path: str, words: Sequence[str], vectors: np.ndarray) -> bool:
    del vectors
    with gfile.GFile(path, "rb") as file:
        return file.read().decode().split("\n") == [*words, ""]


def _check_saved_model(path: str, words: Sequence[str], vectors: np.ndarray) -> bool:
    found = tf.saved_model.load(path).signatures["embed_words"](words=tf.constant(words[:1000]))["vectors"]
    return np.array_equal(found, vectors[:1000])


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

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def embed_words(self, words):
        """Words [N] -> vectors [N, D]; zeros for a word that is not in the vocabulary."""
        return {"vectors": tf.gather(self.vectors, self.ids.lookup(words))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def embed_text(self, text):
        """Raw lines [N] -> the mean of the vectors of their words in the vocabulary [N, D]; zeros if there are none."""
        ids = self.transform.transform_fn({"text": text})["ids"]
        known = tf.ragged.boolean_mask(ids, ids >= FIRST_WORD_ID)
        sums = tf.math.segment_sum(tf.gather(self.vectors, known.flat_values), known.value_rowids())
        sums = tf.pad(sums, [[0, tf.shape(text)[0] - tf.shape(sums)[0]], [0, 0]])  # lines without words at the end
        lengths = tf.cast(known.row_lengths(), tf.float32)
        return {"vectors": tf.math.divide_no_nan(sums, lengths[:, tf.newaxis])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def tokenize(self, text):
        """Raw lines [N] -> ids [N, length of the longest], filled up with 0; 1 is a word out of the vocabulary."""
        return {"ids": self.transform.transform_fn({"text": text})["ids"].to_tensor(0)}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="words"), tf.TensorSpec([], tf.int32, name="k")]
    )
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
