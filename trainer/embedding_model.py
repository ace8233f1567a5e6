"""The graph of the SavedModel: words or text -> vectors, and the nearest neighbours of words.

Model servers put the requests of several clients into one batch. So each input and each output has the batch as its
first axis, and what a row gives does not depend on the other rows.
"""

import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainer.dataset_layout import FIRST_WORD_ID, IDS, TEXT, TRANSFORM_FOLDER, UNK_ID, VOCABULARY_FILE

# What is called if a client names no signature, as TensorFlow Serving and Vertex AI call it.
DEFAULT_SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY

_BLOCK = 256  # rows of the table, of which the largest cosine is looked at first
_NOT_WORDS = FIRST_WORD_ID + 1  # rows that may be nearer than the neighbours: [PAD], [UNK] and the word itself
_SPARE = 8  # more candidates than needed, because products of a whole table are rounded in another way


def _graph(*signature: tf.TensorSpec) -> Callable[[Callable[..., Any]], Any]:
    """Turns a method into a tf.function with the given signature.

    AutoGraph is off: it would take 0.3 s to look for control flow, and the methods have none.
    """
    decorator: Callable[[Callable[..., Any]], Any] = tf.function(input_signature=signature, autograph=False)
    return decorator


class EmbeddingModel(tf.Module):
    """The contents of the SavedModel: the transform graph, which turns text into ids, the vectors, and the signatures.

    The variables hold one row each, and their shapes leave the number of rows open. A variable of the shape [V, D]
    would need the whole table in memory to be saved. `SavedModelWriter` puts all rows into the files.

    The methods read a variable with read_value() before they gather rows of it. A gather of the variable itself would
    make TensorFlow copy the whole table each time that another method reads it.

    Args:
        data: the dataset directory with the transform graph and the vocabulary, as a plain path.
        embedding_dim: D.
    """

    def __init__(self, data: str, embedding_dim: int) -> None:
        super().__init__()
        self.vectors = tf.Variable(tf.zeros([1, embedding_dim]), trainable=False, shape=[None, embedding_dim])  # [V, D]
        self.inverse_norms = tf.Variable(tf.zeros([1]), trainable=False, shape=[None])  # [V]
        self.transform = tf.saved_model.load(os.path.join(data, TRANSFORM_FOLDER))
        path, line_number = os.path.join(data, VOCABULARY_FILE), tf.lookup.TextFileIndex.LINE_NUMBER
        self.ids = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(path, tf.string, 0, tf.int64, line_number, delimiter="\t"),
            default_value=UNK_ID,
        )
        self.words = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(path, tf.int64, line_number, tf.string, 0, delimiter="\t"), default_value=""
        )

    def signatures(self) -> dict[str, Any]:
        """The functions that a program or a model server calls, by name."""
        return {
            DEFAULT_SIGNATURE: self.embed_text,
            "embed_text": self.embed_text,
            "embed_words": self.embed_words,
            "tokenize": self.tokenize,
            "nearest": self.nearest,
        }

    @_graph(tf.TensorSpec([None], tf.string, name="words"))
    def embed_words(self, words: tf.Tensor) -> dict[str, tf.Tensor]:
        """Words [N] -> vectors [N, D]. A word that is not in the vocabulary has zeros."""
        return {"vectors": tf.gather(self.vectors.read_value(), self.ids.lookup(words))}

    @_graph(tf.TensorSpec([None], tf.string, name="text"))
    def embed_text(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Raw lines [N] -> the means [N, D] of the vectors of their words. Words outside the vocabulary do not count.

        A line without words of the vocabulary has zeros.
        """
        ids = self.transform.transform_fn({TEXT: text})[IDS]
        words, lines, num_lines = ids.flat_values, ids.value_rowids(), tf.shape(text)[0]
        vectors = tf.gather(self.vectors.read_value(), words)  # [UNK] is a zero vector
        sums = tf.math.unsorted_segment_sum(vectors, lines, num_lines)
        known = tf.cast(words >= FIRST_WORD_ID, tf.float32)
        lengths = tf.math.unsorted_segment_sum(known, lines, num_lines)
        return {"vectors": tf.math.divide_no_nan(sums, lengths[:, tf.newaxis])}

    @_graph(tf.TensorSpec([None], tf.string, name="text"))
    def tokenize(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Raw lines [N] -> ids [N, length of the longest line]. Shorter lines end in 0; unknown words are 1."""
        return {"ids": self.transform.transform_fn({TEXT: text})[IDS].to_tensor(0)}

    @_graph(tf.TensorSpec([None], tf.string, name="words"), tf.TensorSpec(None, tf.int32, name="k"))
    def nearest(self, words: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """Words [N] and k -> the k nearest words of each, [N, K], and their cosines [N, K], nearest first.

        k is one number for all words, or has the shape [N], as in a batch of requests. K is the largest of them, but at
        most the number of other words. A word of a smaller k ends in empty strings and zeros.

        A word is not its own neighbour. Of words with the same cosine, the more frequent one comes first. A word that
        is not in the vocabulary has empty strings and zeros.
        """
        vectors, inverse_norms = self.vectors.read_value(), self.inverse_norms.read_value()
        num_rows = tf.shape(inverse_norms)[0]
        largest = tf.reduce_max(tf.concat([[0], tf.reshape(k, [-1])], axis=0))  # there may be no words
        largest = tf.minimum(largest, tf.maximum(num_rows - _NOT_WORDS, 0))
        ids = tf.cast(self.ids.lookup(words), tf.int32)
        queries = tf.gather(vectors, ids) * tf.gather(inverse_norms, ids)[:, tf.newaxis]

        rows = _candidates(vectors, inverse_norms, queries, tf.minimum(largest + _NOT_WORDS + _SPARE, num_rows))
        cosines = tf.reduce_sum(tf.gather(vectors, rows) * queries[:, tf.newaxis, :], axis=-1)
        cosines *= tf.gather(inverse_norms, rows)
        excluded = (rows < FIRST_WORD_ID) | (rows == ids[:, tf.newaxis])
        best = tf.math.top_k(tf.where(excluded, -2.0, cosines), largest)
        found = tf.gather(rows, best.indices, batch_dims=1)

        is_wanted = tf.range(largest) < tf.broadcast_to(k, tf.shape(words))[:, tf.newaxis]
        is_there = is_wanted & (ids >= FIRST_WORD_ID)[:, tf.newaxis]
        neighbours = self.words.lookup(tf.cast(found, tf.int64))
        return {"words": tf.where(is_there, neighbours, ""), "cosines": tf.where(is_there, best.values, 0.0)}


def _candidates(vectors: tf.Tensor, inverse_norms: tf.Tensor, queries: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """The rows of the table with the largest cosines, for each query.

    All cosines are computed, since nothing less is exact. To sort them all would take as long again. So the table is
    divided into blocks, and the blocks with the largest cosines are found first. No more blocks than rows are needed.

    The product of the table and some queries is rounded in another way if there are other queries. So whoever wants
    cosines that do not depend on them computes those of the candidates once more.

    Args:
        vectors: [V, D].
        inverse_norms: [V], the inverse lengths of the vectors, 0 for a zero vector.
        queries: [N, D], of length 1 or 0.
        number: how many rows to return, at most V.

    Returns:
        Row numbers [N, number] int32, ascending in each row.
    """
    # A product with the table as the second operand takes ten times as long for a few queries.
    cosines = tf.matmul(vectors, queries, transpose_b=True) * inverse_norms[:, tf.newaxis]  # [V, N]
    num_rows, num_queries = tf.shape(cosines)[0], tf.shape(cosines)[1]
    num_blocks = num_rows // _BLOCK
    whole = tf.reshape(cosines[: num_blocks * _BLOCK], tf.stack([num_blocks, _BLOCK, num_queries]))
    rest = cosines[num_blocks * _BLOCK :]
    largest = tf.concat([tf.reduce_max(whole, axis=1), tf.reduce_max(rest, axis=0, keepdims=True)], axis=0)

    blocks = tf.math.top_k(tf.transpose(largest), tf.minimum(number, num_blocks + 1)).indices
    blocks = tf.sort(blocks, axis=1)  # of equal cosines, top_k then takes that of the first row
    rows = tf.reshape(blocks[:, :, tf.newaxis] * _BLOCK + tf.range(_BLOCK), tf.stack([num_queries, -1]))
    columns = tf.broadcast_to(tf.range(num_queries)[:, tf.newaxis], tf.shape(rows))
    theirs = tf.gather_nd(cosines, tf.stack([tf.minimum(rows, num_rows - 1), columns], axis=-1))
    best = tf.math.top_k(tf.where(rows < num_rows, theirs, theirs.dtype.min), number).indices
    return tf.sort(tf.gather(rows, best, batch_dims=1), axis=1)
