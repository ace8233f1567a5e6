"""sentence-transformers loads MODEL/static_embedding, and gives the vectors of the SavedModel for the same text.

The library and PyTorch take some gigabytes, so they are in an environment of their own in build/, which is made the
first time. pip takes the usual settings: with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu, PyTorch comes
without what only GPUs need.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT, run_module
from trainer import export, word2vec_format
from trainer.dataset import open_dataset

VERSION = "6.2.0"
ENVIRONMENT = ROOT / "build" / "sentence_transformers"
DIM = 16
CORPUS = [
    "The cat, and a DOG!",
    "",
    "\n",
    "nonsenseword",
    "the nonsenseword",
    "Don't — “the” of…and",
    "THE Of\u00a0the\u3000and\u2028to",
    "the\u00adand th\u00ade ΟΔΟΣ İstanbul 👩\u200d👩",
    "the " * 50_000,
    " ".join(f"unknown{number}" for number in range(1_000)) + " the",
]
CLIENT = """
import json, sys, time
start = time.perf_counter()
from sentence_transformers import SentenceTransformer, models
imported = time.perf_counter()
model = SentenceTransformer(sys.argv[1], device="cpu")
loaded = time.perf_counter()
texts = json.load(sys.stdin)
vectors = model.encode(texts)
module = models.StaticEmbedding.load(sys.argv[1])
alone = SentenceTransformer(modules=[module], device="cpu").encode(texts)
model.save(sys.argv[2])
again = SentenceTransformer(sys.argv[2], device="cpu").encode(texts)
print(json.dumps({
    "vectors": vectors.tolist(), "alone": alone.tolist(), "again": again.tolist(),
    "similarities": model.similarity(vectors[:1], vectors).tolist(),
    "dimension": model.get_sentence_embedding_dimension(),
    "import_seconds": imported - start, "load_seconds": loaded - imported,
}))
"""


@pytest.fixture(scope="module")
def python():
    """The Python of an environment with sentence-transformers."""
    program = ENVIRONMENT / "bin" / "python"
    question = [program, "-c", "import sentence_transformers as module; print(module.__version__)"]
    if not program.exists() or subprocess.run(question, capture_output=True, text=True).stdout.strip() != VERSION:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        install = [program, "-m", "pip", "install", "--quiet", f"sentence-transformers=={VERSION}"]
        result = subprocess.run(install, capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"sentence-transformers cannot be installed: {result.stderr.strip().splitlines()[-1]}")
    return program


@pytest.fixture(scope="module", params=["words", "simple", "whitespace"])
def model(request, tmp_path_factory):
    """A model of random vectors of a dataset with this tokeniser."""
    folder = tmp_path_factory.mktemp(request.param)
    text = "\n".join(["the and of to Don't don't dont ΟΔΟΣ İstanbul the\u00adand DOG dog cat. [UNK] ▁the"] * 50)
    (folder / "text.txt").write_text(text)
    data = folder / "data"
    run_module("pipeline", "--input", folder / "text.txt", "--output", data, "--tokenizer", request.param)
    dataset = open_dataset(str(data))
    vectors = np.random.default_rng(2).normal(size=(dataset.vocab_size, DIM)).astype(np.float32)
    names = ["vectors.bin", "saved_model", "static_embedding"]
    export.export(dataset, iter([vectors]), DIM, str(folder), names=names)
    return folder


def test_the_vectors_are_those_of_the_saved_model(python, model, tmp_path):
    words = word2vec_format.load(str(model / "vectors.bin"))
    texts = CORPUS + words.words
    command = [python, "-c", CLIENT, model / "static_embedding", tmp_path / "saved"]
    result = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, timeout=600)
    assert not result.returncode, result.stderr
    said = json.loads(result.stdout)
    print({name: said[name] for name in ("import_seconds", "load_seconds")})

    embed_text = tf.saved_model.load(str(model / "saved_model")).signatures["embed_text"]
    expected = embed_text(text=tf.constant(texts))["vectors"].numpy()
    np.testing.assert_allclose(said["vectors"], expected, rtol=1e-4, atol=1e-5)
    assert not expected[3].any() and expected[4].any()
    assert said["alone"] == said["again"] == said["vectors"]
    assert said["dimension"] == DIM
    first = expected[0] / np.linalg.norm(expected[0])
    norms = np.maximum(np.linalg.norm(expected, axis=1), 1e-12)
    np.testing.assert_allclose(said["similarities"][0], expected @ first / norms, rtol=1e-3, atol=1e-4)
