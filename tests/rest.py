"""TensorFlow Serving's rules, by which its REST API makes tensors of JSON and JSON of tensors, in plain Python.

The server itself is a program that pip cannot install. So this states its documented rules, from the page *RESTful
API* of TensorFlow Serving, and applies them to a SavedModel that is loaded as the server loads it: into a session.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf


class RestError(Exception):
    """The server answers with status 400."""


class Server:
    """A SavedModel in a session. `predict` is POST /v1/models/NAME:predict."""

    def __init__(self, session: tf.compat.v1.Session, signatures: Mapping[str, Any]) -> None:
        self._session = session
        self.signatures = signatures

    def run(self, name: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Calls a signature as the server does: it feeds and fetches the tensors that the signature names."""
        signature = self.signatures[name]
        fed = {signature.inputs[key].name: value for key, value in inputs.items()}
        return self._session.run({key: tensor.name for key, tensor in signature.outputs.items()}, fed)

    def predict(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to the body of a request.

        Raises:
            RestError: the request is not in the server's row format or column format, or the answer cannot be.
        """
        name = body.get("signature_name", "serving_default")
        inputs = self.signatures[name].inputs
        if ("instances" in body) == ("inputs" in body):
            raise RestError("expected either instances or inputs")
        if "inputs" in body:
            given = body["inputs"] if isinstance(body["inputs"], dict) else dict.fromkeys(inputs, body["inputs"])
            if len(inputs) > 1 and not isinstance(body["inputs"], dict) or inputs.keys() - given.keys():
                raise RestError("a named input is missing")
            outputs = self.run(name, {key: _tensor(given[key], inputs[key].dtype) for key in inputs})
            return {"outputs": _without_name({key: _json(value) for key, value in outputs.items()})}
        instances = body["instances"]
        if not isinstance(instances, list) or not instances:
            raise RestError("instances is not a list with values")
        if not isinstance(instances[0], dict):
            if len(inputs) > 1:
                raise RestError("instances is a plain list, but there are several inputs")
            instances = [dict.fromkeys(inputs, each) for each in instances]
        if any(each.keys() != set(inputs) for each in instances):
            raise RestError("each instance must have the keys of the inputs")
        outputs = self.run(name, {key: _tensor([each[key] for each in instances], inputs[key].dtype) for key in inputs})
        if {value.shape[:1] for value in outputs.values()} != {(len(instances),)}:
            raise RestError("an output has not one row for each instance")
        rows = [{key: _json(value[row]) for key, value in outputs.items()} for row in range(len(instances))]
        return {"predictions": [_without_name(row) for row in rows]}


@contextlib.contextmanager
def served(path: str) -> Iterator[Server]:
    """Loads a SavedModel as the server does, by the operation for restoring and that for the tables."""
    session = tf.compat.v1.Session(graph=tf.Graph())
    try:
        with session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], path)
        signatures = {key: each for key, each in meta_graph.signature_def.items() if not key.startswith("__")}
        assert all(each.method_name == "tensorflow/serving/predict" for each in signatures.values())
        yield Server(session, signatures)
    finally:
        session.close()


def _tensor(value: Any, dtype: int) -> np.ndarray:
    """A tensor of nested lists, which must be equally long."""
    kind = tf.as_dtype(dtype).as_numpy_dtype
    array = np.array(value)  # fails if the lists differ in length
    if kind is object and array.dtype.kind not in "US" or kind is not object and array.dtype.kind not in "iuf":
        raise RestError(f"{value} is not of the type {kind}")
    return array.astype(kind)


def _json(value: Any) -> Any:
    """Numbers, text and nested lists of them."""
    if isinstance(value, np.ndarray):
        return [_json(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value.item()


def _without_name(outputs: dict[str, Any]) -> Any:
    """A single output stands without its name."""
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))
