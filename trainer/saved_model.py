"""The SavedModel export: words or text -> vectors, and nearest neighbours. To load it, TensorFlow is enough."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.dataset import Dataset
from trainer.dataset_layout import FIRST_WORD_ID, IDS, TEXT, TRANSFORM_FOLDER, UNK_ID, VOCABULARY_FILE
from trainer.plain_path import plain_path

_SIGNATURES = ("embed_words", "embed_text", "tokenize", "nearest")


def _graph(*signature: tf.TensorSpec) -> Callable[[Callable[..., Any]], Any]:
    """Turns a method into a tf.function with the given signature.

    AutoGraph is off: it would take 0.3 s to look for control flow, and the methods have none.
    """
    decorator: Callable[[Callable[..., Any]], Any] = tf.function(input_signature=signature, autograph=False)
    return decorator


class EmbeddingModel(tf.Module):
    """The contents of the SavedModel: the transform graph, which turns text into ids, the vectors, and the signatures.

    Args:
        data: the dataset directory with the transform graph and the vocabulary, as a plain path.
        embeddings: [V, D] float32.
    """

    def __init__(self, data: str, embeddings: np.ndarray) -> None:
        super().__init__()
        embeddings = embeddings.copy()
        embeddings[:FIRST_WORD_ID] = 0
        norms = np.linalg.norm(embeddings, axis=1)
        self.vectors = tf.Variable(embeddings, trainable=False)  # [V, D]
        self.inverse_norms = tf.Variable(np.where(norms > 0, 1 / np.maximum(norms, 1e-30), 0), dtype=tf.float32)
        self.transform = tf.saved_model.load(os.path.join(data, TRANSFORM_FOLDER))
        path, line_number = os.path.join(data, VOCABULARY_FILE), tf.lookup.TextFileIndex.LINE_NUMBER
        self.ids = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(path, tf.string, 0, tf.int64, line_number, delimiter="\t"),
            default_value=UNK_ID,
        )
        self.words = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(path, tf.int64, line_number, tf.string, 0, delimiter="\t"), default_value=""
        )

    @_graph(tf.TensorSpec([None], tf.string, name="words"))
    def embed_words(self, words: tf.Tensor) -> dict[str, tf.Tensor]:
        """Words [N] -> vectors [N, D]. A word that is not in the vocabulary has zeros."""
        return {"vectors": tf.gather(self.vectors, self.ids.lookup(words))}

    @_graph(tf.TensorSpec([None], tf.string, name="text"))
    def embed_text(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Raw lines [N] -> the means [N, D] of the vectors of their words. Words outside the vocabulary do not count.

        A line without words of the vocabulary has zeros.
        """
        ids = self.transform.transform_fn({TEXT: text})[IDS]
        known = tf.ragged.boolean_mask(ids, ids >= FIRST_WORD_ID)
        sums = tf.math.segment_sum(tf.gather(self.vectors, known.flat_values), known.value_rowids())
        sums = tf.pad(sums, [[0, tf.shape(text)[0] - tf.shape(sums)[0]], [0, 0]])  # segment_sum drops empty last lines
        lengths = tf.cast(known.row_lengths(), tf.float32)
        return {"vectors": tf.math.divide_no_nan(sums, lengths[:, tf.newaxis])}

    @_graph(tf.TensorSpec([None], tf.string, name="text"))
    def tokenize(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Raw lines [N] -> ids [N, length of the longest line]. Shorter lines end in 0; unknown words are 1."""
        return {"ids": self.transform.transform_fn({TEXT: text})[IDS].to_tensor(0)}

    @_graph(tf.TensorSpec([None], tf.string, name="words"), tf.TensorSpec([], tf.int32, name="k"))
    def nearest(self, words: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """Words [N] and k -> the k nearest words of each, [N, k], and their cosines [N, k], nearest first.

        A word is not its own neighbour. A word that is not in the vocabulary has empty strings and zeros.
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
    """Writes the SavedModel of embeddings [V, D] to a plain path (see trainer.plain_path)."""
    with plain_path(dataset.directory) as data:  # the vocabulary is copied from there when the model is saved
        model = EmbeddingModel(data, embeddings)
        tf.saved_model.save(model, path, signatures={name: getattr(model, name) for name in _SIGNATURES})
