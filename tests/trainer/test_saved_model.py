"""The SavedModel is written in parts. Whatever loads a SavedModel finds in it what TensorFlow would have written."""

import dataclasses
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.rest import served
from trainer import embedding_model
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


@pytest.fixture(scope="module")
def server(written):
    """The model as TensorFlow Serving has it: in a session, with the signatures that the graph names."""
    with served(written.path) as server:
        yield server


def neighbours(written, word, number):
    """Words and cosines by the definition, in float64; of equal cosines, the first row comes first."""
    row, vectors = written.words.index(word), written.vectors.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors[row] / np.where(norms > 0, norms, np.inf) / norms[row]
    cosines[[0, 1, row]] = -np.inf
    best = np.argsort(-cosines, kind="stable")[:number]
    return [written.words[each] for each in best], cosines[best]


def test_a_session_loads_it_as_tensorflow_serving_does(written, server):
    """That is: it runs the operation that the graph names for restoring, then that for the hash tables."""
    asked = ["cat", "nonsenseword", written.words[5]]
    vectors = server.run("embed_words", {"words": asked})["vectors"]
    np.testing.assert_array_equal(vectors, [written.vectors[written.words.index("cat")], np.zeros(DIM), np.zeros(DIM)])
    nearest = server.run("nearest", {"words": asked, "k": 2})
    words, cosines = neighbours(written, "cat", 2)
    assert [word.decode() for word in nearest["words"][0]] == words
    np.testing.assert_allclose(nearest["cosines"][0], cosines, rtol=1e-5)


def test_the_first_axis_of_each_input_and_output_is_the_batch(server):
    """Servers put the requests of several clients together. The number k may also be one for all words."""
    assert sorted(server.signatures) == ["embed_text", "embed_words", "nearest", "serving_default", "tokenize"]
    for name, signature in server.signatures.items():
        for key, tensor in (*signature.inputs.items(), *signature.outputs.items()):
            shape = tf.TensorShape(tensor.tensor_shape)
            assert shape.rank is None if key == "k" else shape.as_list()[0] is None, (name, key)


def test_rest_requests_are_plain_lists(written, server):
    """The default signature takes text and has one output, so neither needs a name."""
    text = ["the cat and a dog", "", "cat"]
    vectors = server.predict({"instances": text})["predictions"]
    np.testing.assert_array_equal(vectors, server.run("embed_text", {"text": text})["vectors"])
    np.testing.assert_array_equal(vectors[1:], [np.zeros(DIM), written.vectors[written.words.index("cat")]])
    assert server.predict({"instances": [{"text": line} for line in text]}) == {"predictions": vectors}
    assert server.predict({"inputs": text}) == server.predict({"inputs": {"text": text}}) == {"outputs": vectors}
    assert server.predict({"instances": ["cat"], "signature_name": "tokenize"}) == {
        "predictions": [[written.words.index("cat")]]
    }


def test_rest_requests_for_neighbours(written, server):
    in_rows = {"signature_name": "nearest", "instances": [{"words": "cat", "k": 3}, {"words": "dog", "k": 1}]}
    cat, dog = server.predict(in_rows)["predictions"]
    assert cat["words"] == neighbours(written, "cat", 3)[0]
    assert dog["words"] == [*neighbours(written, "dog", 1)[0], "", ""] and dog["cosines"][1:] == [0, 0]
    in_columns = server.predict({"signature_name": "nearest", "inputs": {"words": ["cat", "dog"], "k": 3}})["outputs"]
    assert in_columns["words"] == [cat["words"], neighbours(written, "dog", 3)[0]]
    assert in_columns["cosines"][0] == cat["cosines"] and in_columns["cosines"][1][0] == dog["cosines"][0]


def test_a_row_does_not_depend_on_the_others(written, server):
    words, rng = written.words[2:], np.random.default_rng(4)
    text = [" ".join(rng.choice(words, rng.integers(0, 40))) for _ in range(33)]
    for name, key, rows in (("embed_text", "text", text), ("embed_words", "words", words[:33])):
        together = server.run(name, {key: rows})["vectors"]
        np.testing.assert_array_equal(together, [server.run(name, {key: [row]})["vectors"][0] for row in rows])
    together = server.run("nearest", {"words": words[:33], "k": 7})
    alone = [server.run("nearest", {"words": [word], "k": [7]}) for word in words[:33]]
    for key in ("words", "cosines"):
        np.testing.assert_array_equal(together[key], [each[key][0] for each in alone])


@pytest.mark.parametrize(
    "words, k, shape", [([], 5, [0, 5]), ([], [], [0, 0]), (["cat"], 0, [1, 0]), (["cat"], [0], [1, 0])]
)
def test_no_words_or_no_neighbours(server, words, k, shape):
    found = server.run("nearest", {"words": np.array(words, object), "k": np.array(k, np.int32)})
    assert [*found["words"].shape] == [*found["cosines"].shape] == shape


@pytest.mark.parametrize("num_rows, number", [(3, 3), (255, 9), (256, 256), (257, 21), (2000, 21), (2000, 1999)])
def test_candidates_are_those_with_the_largest_cosines(num_rows, number):
    """Small whole numbers make equal products. Of these, the first rows are taken."""
    rng = np.random.default_rng(num_rows)
    vectors, queries = (rng.integers(-2, 3, [rows, 4]).astype(np.float32) for rows in (num_rows, 5))
    ones = np.ones(num_rows, np.float32)
    found = embedding_model._candidates(*map(tf.constant, (vectors, ones, queries)), tf.constant(number)).numpy()
    expected = [sorted(np.argsort(-vectors @ query, kind="stable")[:number]) for query in queries]
    np.testing.assert_array_equal(found, expected)


def test_no_operation_makes_reading_a_table_copy_it(written):
    """TensorFlow copies a variable each time it is read, once one of these operations has used it."""
    saved = saved_model_pb2.SavedModel.FromString(Path(written.path, "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    operations = {node.op for function in graph.library.function for node in function.node_def}
    assert "GatherV2" in operations and not [name for name in operations if name.startswith("ResourceGather")]


def test_tables_are_filled_once(written):
    """A request would otherwise read the file of the vocabulary again."""
    saved = saved_model_pb2.SavedModel.FromString(Path(written.path, "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    filling = [each.signature.name for each in functions for node in each.node_def if node.op.startswith("Initialize")]
    assert len(filling) == 3 and all("_initializer_" in name for name in filling)


def test_it_says_which_model_it_is(written, dataset_dir, tmp_path):
    """The same vectors of the same dataset give the same bytes."""
    dataset = open_dataset(str(dataset_dir))
    text = Path(written.path, "assets.extra/word2vec.json").read_text()
    found = json.loads(text)
    crc32 = zlib.crc32(written.vectors.tobytes())
    assert found == {
        "dataset": dataset.fingerprint, "vocab_size": dataset.vocab_size, "embedding_dim": DIM,
        "vectors_crc32": f"{crc32:08x}", "versions": {"tensorflow": tf.__version__},
    }  # fmt: skip
    for sign in (1, -1):
        writer = SavedModelWriter(dataset, DIM, str(tmp_path / str(sign)))
        writer.write_graph()
        writer.write_rows(sign * written.vectors)
        writer.finish()
        assert ((tmp_path / str(sign) / "assets.extra/word2vec.json").read_text() == text) == (sign == 1)


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
