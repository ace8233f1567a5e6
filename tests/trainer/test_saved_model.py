"""The SavedModel is written in parts. Whatever loads a SavedModel finds in it what TensorFlow would have written."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from trainer.dataset import open_dataset
from trainer.saved_model import SavedModelWriter

DIM = 5


@dataclasses.dataclass
class Written:
    path: str
    words: list[str]
    vectors: np.ndarray  # of words, [PAD] and [UNK] included, with zeros for these


@pytest.fixture(scope="module")
def written(dataset_dir, tmp_path_factory):
    dataset = open_dataset(str(dataset_dir))
    vectors = np.random.default_rng(3).normal(size=(dataset.vocab_size, DIM)).astype(np.float32)
    vectors[5] = 0  # has no direction
    path = str(tmp_path_factory.mktemp("written") / "saved_model")
    writer = SavedModelWriter(dataset, DIM, path)
    writer.write_rows(vectors[:9])  # before the graph: the order does not matter
    writer.write_graph()
    writer.write_rows(vectors[9:])
    writer.finish()
    vectors[:2] = 0
    return Written(path, dataset.words(), vectors)


def test_the_bundle_has_the_tables_as_whole_tensors(written):
    bundle = tf.train.load_checkpoint(f"{written.path}/variables/variables")
    values = {name.split("/")[0]: bundle.get_tensor(name) for name in bundle.get_variable_to_shape_map()}
    norms = np.linalg.norm(written.vectors, axis=1)
    np.testing.assert_array_equal(values["vectors"], written.vectors)
    np.testing.assert_allclose(values["inverse_norms"], [1 / norm if norm else 0 for norm in norms], rtol=1e-6)


def test_the_parts_are_gone(written):
    folder = tf.io.gfile.listdir(f"{written.path}/..")
    assert [name.strip("/") for name in folder] == ["saved_model"]
    names = [f"variables.data-0000{part}-of-00003" for part in range(3)]
    assert sorted(tf.io.gfile.listdir(f"{written.path}/variables")) == [*names, "variables.index"]


def test_the_signatures_say_how_long_vectors_are(written):
    signatures = tf.saved_model.load(written.path).signatures
    for name in ("embed_words", "embed_text"):
        assert signatures[name].structured_outputs["vectors"].shape.as_list() == [None, DIM]


def test_a_session_loads_it_as_tensorflow_serving_does(written):
    """That is: it runs the operation that the graph names for restoring, then that for the hash tables."""
    asked = ["cat", "nonsenseword", written.words[5]]
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], written.path)

        def run(name, **inputs):
            signature = meta_graph.signature_def[name]
            outputs = {key: tensor.name for key, tensor in signature.outputs.items()}
            return session.run(outputs, {signature.inputs[key].name: value for key, value in inputs.items()})

        vectors = run("embed_words", words=asked)["vectors"]
        nearest = run("nearest", words=asked, k=2)
    row = written.words.index("cat")
    np.testing.assert_array_equal(vectors, [written.vectors[row], np.zeros(DIM), np.zeros(DIM)])
    norms = np.linalg.norm(written.vectors, axis=1)
    cosines = written.vectors @ written.vectors[row] / np.where(norms > 0, norms, np.inf) / norms[row]
    cosines[[0, 1, row]] = -np.inf
    best = np.argsort(-cosines)[:2]
    assert [word.decode() for word in nearest["words"][0]] == [written.words[each] for each in best]
    np.testing.assert_allclose(nearest["cosines"][0], cosines[best], rtol=1e-5)


def test_the_fingerprint_is_that_of_the_bundle(written, tmp_path):
    """TensorFlow states a hash of the bundle's index, as is seen from a model that it writes alone."""
    module = tf.Module()
    module.value = tf.Variable(3.0)
    tf.saved_model.save(module, str(tmp_path))

    for path in (str(tmp_path), written.path):
        with tf.io.gfile.GFile(f"{path}/variables/variables.index", "rb") as file:
            hashed = tf.fingerprint([file.read()]).numpy().tobytes()
        fingerprint = tf.saved_model.experimental.read_fingerprint(path)
        assert fingerprint.checkpoint_hash == int.from_bytes(hashed, "little")
