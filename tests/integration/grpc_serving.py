"""python grpc_serving.py SAVED_MODEL WORD

Sends requests to a gRPC server of TensorFlow Serving's PredictionService, and prints the answers in JSON. Messages,
client and server are generated from TensorFlow Serving's own definitions. The server does what TensorFlow Serving
documents: it feeds and fetches the tensors that a signature names. It needs TensorFlow, grpc and
tensorflow-serving-api.
"""

import concurrent.futures
import json
import sys

import grpc
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc as service


class Service(service.PredictionServiceServicer):
    def __init__(self, path):
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            self.meta_graph = tf.compat.v1.saved_model.load(self.session, ["serve"], path)

    def Predict(self, request, context):
        signature = self.meta_graph.signature_def[request.model_spec.signature_name or "serving_default"]
        if request.inputs.keys() != signature.inputs.keys():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "input size does not match signature")
        fed = {signature.inputs[key].name: tf.make_ndarray(value) for key, value in request.inputs.items()}
        fetched = self.session.run({key: tensor.name for key, tensor in signature.outputs.items()}, fed)
        response = predict_pb2.PredictResponse(model_spec=request.model_spec)
        for key, value in fetched.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=self.meta_graph.signature_def)
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.metadata["signature_def"].Pack(signatures)
        return response


def main(path, word):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    service.add_PredictionServiceServicer_to_server(Service(path), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stub = service.PredictionServiceStub(grpc.insecure_channel(f"127.0.0.1:{port}"))

    def predict(signature, **inputs):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "word2vec", signature
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        outputs = stub.Predict(request, timeout=60).outputs
        return {key: tf.make_ndarray(value) for key, value in outputs.items()}

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "word2vec"
    packed = stub.GetModelMetadata(request, timeout=60).metadata["signature_def"]
    signatures = get_model_metadata_pb2.SignatureDefMap.FromString(packed.value).signature_def
    nearest = predict("nearest", words=[word], k=[3])
    print(
        json.dumps(
            {
                "signatures": sorted(key for key in signatures if not key.startswith("__")),
                "vectors": predict("", text=[word])["vectors"].tolist(),
                "words": [each.decode() for each in nearest["words"][0]],
                "cosines": nearest["cosines"][0].tolist(),
            }
        )
    )
    server.stop(None)


main(*sys.argv[1:])
