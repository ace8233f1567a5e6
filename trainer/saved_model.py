"""The SavedModel export: words or text -> vectors, and nearest neighbours. To load it, TensorFlow is enough."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import fingerprint_pb2
from tensorflow.io import gfile

from trainer import bundle
from trainer.dataset import Dataset, read_bytes
from trainer.dataset_layout import FIRST_WORD_ID, IDS, TEXT, TRANSFORM_FOLDER, UNK_ID, VOCABULARY_FILE
from trainer.plain_path import plain_path

_SIGNATURES = ("embed_words", "embed_text", "tokenize", "nearest")
_VECTORS, _INVERSE_NORMS = (f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("vectors", "inverse_norms"))
_ROWS_AT_ONCE = 4096  # whose norms are computed together, because NumPy makes copies of them


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
        words, lines, num_lines = ids.flat_values, ids.value_rowids(), tf.shape(text)[0]
        sums = tf.math.unsorted_segment_sum(tf.gather(self.vectors, words), lines, num_lines)  # [UNK] is a zero vector
        known = tf.cast(words >= FIRST_WORD_ID, tf.float32)
        lengths = tf.math.unsorted_segment_sum(known, lines, num_lines)
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


class SavedModelWriter:
    """Writes the SavedModel while the vectors come in blocks of rows, so that the whole table is never in memory.

    TensorFlow saves the graph with variables of one row. A bundle is a set of files with the values of variables. The
    bundle of the saved graph is replaced by one that is merged of parts, and each part has a block of rows.

    Args:
        dataset: the dataset with the words and the transform graph.
        embedding_dim: D.
        path: the new SavedModel, as a plain path (see trainer.plain_path). A folder "parts" beside it holds the parts
            until they are merged.
    """

    def __init__(self, dataset: Dataset, embedding_dim: int, path: str) -> None:
        self._dataset = dataset
        self._embedding_dim = embedding_dim
        self._path = path
        self._folder = os.path.join(os.path.dirname(path), "parts")
        self._prefixes: list[str] = []
        self._num_rows = 0
        self._norms: list[np.ndarray] = []
        gfile.makedirs(self._folder)

    def write_graph(self) -> None:
        """Writes all but the vectors. Another thread may call write_rows meanwhile."""
        with plain_path(self._dataset.directory) as data:  # the vocabulary is copied from there when the model is saved
            model = EmbeddingModel(data, self._embedding_dim)
            tf.saved_model.save(model, self._path, signatures={name: getattr(model, name) for name in _SIGNATURES})

    def write_rows(self, rows: np.ndarray) -> None:
        """Writes the next rows [n, D] float32 of the table. [PAD] and [UNK], the first two, become zeros."""
        num_special = max(0, min(FIRST_WORD_ID - self._num_rows, len(rows)))
        if num_special:
            rows = rows.copy()
            rows[:num_special] = 0
        self._norms += [
            np.linalg.norm(rows[start : start + _ROWS_AT_ONCE], axis=1) for start in range(0, len(rows), _ROWS_AT_ONCE)
        ]
        shape = (self._dataset.vocab_size, self._embedding_dim)
        self._write([bundle.Part(_VECTORS, shape, (self._num_rows, 0), _tensor(rows))])
        self._num_rows += len(rows)

    def finish(self) -> None:
        """Puts the rows into the SavedModel, when all of them and the graph have been written."""
        folder = os.path.join(self._path, "variables")
        prefix = os.path.join(folder, "variables")
        values = _values(prefix)
        if not {_VECTORS, _INVERSE_NORMS} <= set(values):
            raise AssertionError(f"the variables are {sorted(values)}: expected {_VECTORS} and {_INVERSE_NORMS}")
        del values[_VECTORS]
        norms = np.concatenate(self._norms)
        values[_INVERSE_NORMS] = _tensor(np.where(norms > 0, 1 / np.maximum(norms, 1e-30), 0).astype(np.float32))
        self._write(
            [bundle.Part(name, tuple(value.shape), (0,) * len(value.shape), value) for name, value in values.items()]
        )
        for name in gfile.listdir(folder):
            gfile.remove(os.path.join(folder, name))
        with tf.device("CPU:0"):
            bundle.merge(self._prefixes, prefix)
        if gfile.exists(self._folder):  # in object storage, a directory vanishes with its last file
            gfile.rmtree(self._folder)
        _update_fingerprint(self._path, f"{prefix}.index")

    def _write(self, parts: list[bundle.Part]) -> None:
        """Writes parts of tensors to a bundle of their own."""
        prefix = os.path.join(self._folder, str(len(self._prefixes)))
        with tf.device("CPU:0"):
            bundle.write(prefix, parts)
        self._prefixes.append(prefix)


def _tensor(values: np.ndarray) -> tf.Tensor:
    """A tensor in the machine's own memory, even if there is a GPU."""
    with tf.device("CPU:0"):
        return tf.convert_to_tensor(values)


def _values(prefix: str) -> dict[str, tf.Tensor]:
    """All tensors of a bundle by name."""
    dtypes = tf.compat.v1.train.NewCheckpointReader(prefix).get_variable_to_dtype_map()
    with tf.device("CPU:0"):
        return {name: bundle.read(prefix, name, dtype) for name, dtype in dtypes.items()}


def _update_fingerprint(path: str, index: str) -> None:
    """Makes the fingerprint of a SavedModel that of its new bundle: TensorFlow states a hash of the bundle's index."""
    file = os.path.join(path, "fingerprint.pb")
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(read_bytes(file))
    fingerprint.checkpoint_hash = int.from_bytes(tf.fingerprint([read_bytes(index)]).numpy().tobytes(), "little")
    with gfile.GFile(file, "wb") as opened:
        opened.write(fingerprint.SerializeToString())
