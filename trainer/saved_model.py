"""Writes the SavedModel, which TensorFlow alone loads: the graph, the vectors, and a description of the model."""

import json
import os
import zlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import fingerprint_pb2, saved_model_pb2
from tensorflow.io import gfile

from trainer import bundle
from trainer.dataset import Dataset, read_bytes
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.embedding_model import EmbeddingModel
from trainer.plain_path import plain_path

_VECTORS, _INVERSE_NORMS = (f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("vectors", "inverse_norms"))
_ROWS_AT_ONCE = 4096  # whose norms are computed together, because NumPy makes copies of them
_FILL_TABLE = "InitializeTableFromTextFileV2"
_DESCRIPTION = ("assets.extra", "word2vec.json")  # TensorFlow leaves this folder to whoever exports a model


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
        self._crc32 = 0
        self._norms: list[np.ndarray] = []
        gfile.makedirs(self._folder)

    def write_graph(self) -> None:
        """Writes all but the vectors. Another thread may call write_rows meanwhile."""
        with plain_path(self._dataset.directory) as data:  # the vocabulary is copied from there when the model is saved
            model = EmbeddingModel(data, self._embedding_dim)
            tf.saved_model.save(model, self._path, signatures=model.signatures())
        _fill_tables_once(self._path)

    def write_rows(self, rows: np.ndarray) -> None:
        """Writes the next rows [n, D] float32 of the table. [PAD] and [UNK], the first two, become zeros."""
        num_special = max(0, min(FIRST_WORD_ID - self._num_rows, len(rows)))
        if num_special:
            rows = rows.copy()
            rows[:num_special] = 0
        self._norms += [
            np.linalg.norm(rows[start : start + _ROWS_AT_ONCE], axis=1) for start in range(0, len(rows), _ROWS_AT_ONCE)
        ]
        self._crc32 = zlib.crc32(np.ascontiguousarray(rows, "<f4").data, self._crc32)
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
        self._write_description()

    def _write_description(self) -> None:
        """Writes what tells this model from others. The same vectors of the same dataset give the same bytes."""
        values = {
            "dataset": self._dataset.fingerprint,
            "vocab_size": self._dataset.vocab_size,
            "embedding_dim": self._embedding_dim,
            "vectors_crc32": f"{self._crc32:08x}",
            "versions": {"tensorflow": tf.__version__},
        }
        folder, name = _DESCRIPTION
        gfile.makedirs(os.path.join(self._path, folder))
        with gfile.GFile(os.path.join(self._path, folder, name), "wb") as opened:
            opened.write((json.dumps(values, indent=1) + "\n").encode())

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


def _fill_tables_once(path: str) -> None:
    """Makes each function of a SavedModel rely on the tables that are filled when the SavedModel is loaded.

    The transform graph's own function fills its tables at each call. As they are full, TensorFlow then reads the whole
    vocabulary file only to compare it with the table, which takes 40 ms with 1 M words.
    """
    file = os.path.join(path, "saved_model.pb")
    saved = saved_model_pb2.SavedModel.FromString(read_bytes(file))
    for function in saved.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op == _FILL_TABLE and "_initializer_" not in function.signature.name:
                node.op = "NoOp"  # it keeps its name, for which other operations wait
                del node.input[:]
                node.attr.clear()
    _write_anew(file, saved.SerializeToString(deterministic=True))


def _update_fingerprint(path: str, index: str) -> None:
    """Makes the fingerprint of a SavedModel that of its new bundle: TensorFlow states a hash of the bundle's index."""
    file = os.path.join(path, "fingerprint.pb")
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(read_bytes(file))
    fingerprint.checkpoint_hash = int.from_bytes(tf.fingerprint([read_bytes(index)]).numpy().tobytes(), "little")
    _write_anew(file, fingerprint.SerializeToString())


def _write_anew(file: str, content: bytes) -> None:
    """Writes a file that is there already. Some of TensorFlow's file systems would append to it."""
    gfile.remove(file)
    with gfile.GFile(file, "wb") as opened:
        opened.write(content)
