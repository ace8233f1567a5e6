"""The SavedModel: words or text -> vectors, and nearest neighbours; whoever loads it needs TensorFlow alone."""

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer.dataset import FIRST_WORD_ID, Dataset


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
