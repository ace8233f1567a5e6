"""Programs other than this one's TensorFlow load the exported model, and all give the same vectors and neighbours.

They are an older TensorFlow, which Vertex AI's container has, TensorFlow for Java, saved_model_cli, and a gRPC server
that is generated from TensorFlow Serving's definitions. TensorFlow Serving itself is a program that pip cannot install.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from deploy.common import SERVING_IMAGE
from trainer.dataset import open_dataset
from trainer.saved_model import SavedModelWriter

HERE = Path(__file__).parent
ANSWERS = """
import json, sys
import tensorflow as tf
call = tf.saved_model.load(sys.argv[1]).signatures
nearest = call['nearest'](words=tf.constant([sys.argv[2]]), k=tf.constant(3))
print(json.dumps({
    'version': tf.__version__,
    'vectors': call['serving_default'](text=tf.constant([sys.argv[2]]))['vectors'].numpy().tolist(),
    'words': [word.decode() for word in nearest['words'][0].numpy()],
    'cosines': nearest['cosines'][0].numpy().tolist(),
}))
"""
POM = """
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId><artifactId>serving</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.tensorflow</groupId><artifactId>tensorflow-core-api</artifactId><version>1.1.0</version>
    </dependency>
    <dependency>
      <groupId>org.tensorflow</groupId><artifactId>tensorflow-core-native</artifactId><version>1.1.0</version>
      <classifier>linux-x86_64</classifier>
    </dependency>
  </dependencies>
</project>
"""


@pytest.fixture(scope="module")
def model(dataset_dir, tmp_path_factory):
    """A SavedModel, and what this TensorFlow answers about "cat"."""
    dataset = open_dataset(str(dataset_dir))
    path = str(tmp_path_factory.mktemp("model") / "saved_model")
    writer = SavedModelWriter(dataset, 16, path)
    writer.write_graph()
    writer.write_rows(np.random.default_rng(3).normal(size=(dataset.vocab_size, 16)).astype(np.float32))
    writer.finish()
    return path, run(sys.executable, "-c", ANSWERS, path, "cat")


def run(*command, cwd=None):
    """The JSON that a program prints."""
    return json.loads(output(*command, cwd=cwd))


def output(*command, cwd=None):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONPATH", None)
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd or "/", timeout=550, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def virtual_environment(folder, *packages):
    """Makes a virtual environment with some packages. Returns its Python."""
    output(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    output(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    return python


def assert_the_same(answers, expected):
    np.testing.assert_allclose(answers["vectors"], expected["vectors"], rtol=1e-6)
    assert answers["words"] == expected["words"]
    np.testing.assert_allclose(answers["cosines"], expected["cosines"], rtol=1e-5)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="TensorFlow 2.15 has packages for Python up to 3.11")
def test_the_tensorflow_of_vertex_ais_container_loads_it(model, tmp_path):
    """So no operation or attribute of the graph is newer than that."""
    path, expected = model
    assert "tf2-cpu.2-15:" in SERVING_IMAGE
    python = virtual_environment(tmp_path / "old", "tensorflow-cpu==2.15.1")
    answers = run(python, "-c", ANSWERS, path, "cat")
    assert answers["version"] == "2.15.1" and tf.__version__ != "2.15.1"
    assert_the_same(answers, expected)


def test_grpc_requests_of_tensorflow_serving(model, tmp_path):
    path, expected = model
    python = virtual_environment(tmp_path / "grpc", "--no-deps", "tensorflow-serving-api==2.21.0")
    (packages,) = tmp_path.glob("grpc/lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))  # TensorFlow and grpc, which the tests have
    answers = run(python, HERE / "grpc_serving.py", path, "cat")
    assert answers["signatures"] == ["embed_text", "embed_words", "nearest", "serving_default", "tokenize"]
    assert_the_same(answers, expected)


def test_tensorflow_for_java_calls_it(model, tmp_path):
    path, expected = model
    if not shutil.which("java") or not shutil.which("mvn"):
        pytest.skip("java or mvn is not there, and TensorFlow for Java needs them")
    (tmp_path / "pom.xml").write_text(POM)
    maven = ("mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", "dependency:copy-dependencies")
    output(*maven, "-DoutputDirectory=lib", cwd=tmp_path)
    lines = output("java", "-cp", f"{tmp_path}/lib/*", HERE / "Serve.java", path, "cat").split()
    answers = {"vectors": [[float(each) for each in lines[:16]]], "words": lines[16:19]}
    assert_the_same({**answers, "cosines": [float(each) for each in lines[19:]]}, expected)


def test_saved_model_cli_runs_it(model, tmp_path):
    path, expected = model
    program = shutil.which("saved_model_cli", path=os.path.dirname(sys.executable))
    shown = output(program, "show", "--dir", path, "--tag_set", "serve", "--signature_def", "serving_default")
    assert "inputs['text'] tensor_info:" in shown and "shape: (-1, 16)" in shown
    asked = ("--signature_def", "serving_default", "--input_exprs", 'text=["cat"]', "--outdir", tmp_path)
    output(program, "run", "--dir", path, "--tag_set", "serve", *asked)
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), np.float32(expected["vectors"]))
