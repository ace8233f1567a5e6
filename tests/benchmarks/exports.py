"""python -m tests.benchmarks.exports MODEL: how large each export is, and how soon a program that loads it can answer.

Each export is loaded in a process of its own, with the library that it is for. It is asked for the neighbours of a
word, or for a vector if the library knows no neighbours. The files are read once before, so that the system has all of
them in its cache. Times are medians of --runs processes, and the last column is the most memory that a process had.

With --nearest, the SavedModel alone is loaded. It is asked many times for 10 neighbours of one word and of 32
words, and for the vector of a text of 10 words.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from trainer import console, layout
from trainer.errors import UserError

# Each program has the paths of MODEL in `model`, the export in `path` and a word in `word`. It imports its library, and
# defines load() and answer(loaded).
_GENSIM = """
from gensim.models import KeyedVectors
def load(): return KeyedVectors.load_word2vec_format(path, binary=path.endswith(".bin"))
def answer(loaded): return loaded.most_similar(word, topn=10)
"""
_TENSORFLOW = """
import tensorflow as tf
def load(): return tf.saved_model.load(path)
def answer(loaded): return loaded.signatures["nearest"](words=tf.constant([word]), k=tf.constant(10))["words"].numpy()
"""
_PROJECTOR = """
import numpy as np
def load(): return np.loadtxt(path, np.float32, delimiter="\\t"), open(model + "/metadata.tsv").read().split("\\n")
def answer(loaded): return loaded[0][loaded[1].index(word)]
"""
_STATE = """
import numpy as np
def load():
    lines = open(path + "/vocabulary.tsv").read().split("\\n")
    return np.load(path + "/target_embeddings.npy"), [line.partition("\\t")[0] for line in lines]
def answer(loaded): return loaded[0][loaded[1].index(word)]
"""
_SENTENCE_TRANSFORMERS = """
from sentence_transformers import SentenceTransformer
def load(): return SentenceTransformer(path, device="cpu")
def answer(loaded): return loaded.encode([word])
"""
_LIBRARIES = {
    layout.VECTORS_BINARY: ("gensim", "neighbours", _GENSIM),
    layout.VECTORS_TEXT: ("gensim", "neighbours", _GENSIM),
    layout.VECTORS_TABLE: ("NumPy", "a word's vector", _PROJECTOR),
    layout.SAVED_MODEL: ("TensorFlow", "neighbours", _TENSORFLOW),
    layout.STATE_FOLDER: ("NumPy", "a word's vector", _STATE),
    layout.STATIC_EMBEDDING: ("sentence-transformers", "a text's vector", _SENTENCE_TRANSFORMERS),
    layout.VECTOR_SEARCH: ("Vertex AI", "", ""),
}
_PROGRAM = """
import json, resource, sys, time
started = time.perf_counter()
model, path, word = sys.argv[1:]
{library}
imported = time.perf_counter()
loaded = load()
ready = time.perf_counter()
answer(loaded)
answered = time.perf_counter()
answer(loaded)
again = time.perf_counter()
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(json.dumps([imported - started, ready - imported, answered - ready, again - answered, memory]))
"""
_NEAREST = """
import json, random, resource, sys, time
import tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1] + "/saved_model").signatures
words = open(sys.argv[1] + "/saved_model/assets/vocabulary.tsv").read().split("\\n")
draws = random.Random(1)
def some(number): return [draws.choice(words).partition("\\t")[0] for _ in range(number)]
def timed(title, repeats, name, inputs):
    times = []
    for repeat in range(repeats + 2):
        asked = inputs()
        started = time.perf_counter()
        signatures[name](**asked)
        times.append(1000 * (time.perf_counter() - started))
    times = sorted(times[2:])
    print(f"{title:<13} median {times[repeats // 2]:.1f} ms, 95 % below {times[repeats * 95 // 100]:.1f} ms")
timed("1 word:", 50, "nearest", lambda: {"words": tf.constant(some(1)), "k": tf.constant(10)})
timed("32 words:", 20, "nearest", lambda: {"words": tf.constant(some(32)), "k": tf.constant(10)})
timed("text:", 50, "embed_text", lambda: {"text": tf.constant([" ".join(some(10))])})
print(f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB")
"""
_HEAD = ("export", "MB", "loaded by", "import s", "load s", "asked for", "first ms", "second ms", "memory MB")


def size(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return sum(each.stat().st_size for each in ([path] if path.is_file() else path.rglob("*")) if each.is_file())


def measure(python: str, model: Path, name: str, word: str, runs: int) -> list[float] | None:
    """The medians of the seconds to import, to load and for two answers, and of the MB of memory.

    Returns None if the library is not there, or there is none.

    Raises:
        UserError: the program fails.
    """
    library = _LIBRARIES[name][2]
    command = [python, "-c", _PROGRAM.replace("{library}", library), str(model), str(model / name), word]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"}
    figures = []
    for _ in range(runs if library else 0):
        result = subprocess.run(command, capture_output=True, text=True, env=environment)
        if "ModuleNotFoundError" in result.stderr:
            return None
        if result.returncode:
            raise UserError(f"{model / name} cannot be loaded: {result.stderr.strip().splitlines()[-1]}")
        figures.append(json.loads(result.stdout.splitlines()[-1]))
    return [statistics.median(each) for each in zip(*figures, strict=True)] if figures else None


def table(python: str, model: Path, runs: int) -> list[Sequence[str]]:
    """The rows of the table, the head included.

    Raises:
        UserError: there is no such model, or an export is damaged.
    """
    if not (model / layout.METRICS_FILE).is_file():
        raise UserError(f"{model} holds no complete model: expected a directory with {layout.METRICS_FILE}")
    words = [model / name for name in (layout.METADATA, layout.COUNTS) if (model / name).is_file()]
    if not words:
        raise UserError(f"{model} has no list of words: expected {layout.METADATA} or {layout.COUNTS} in it")
    word = words[0].read_text().split(maxsplit=1)[0]
    rows: list[Sequence[str]] = [_HEAD]
    for name, (loader, question, _) in _LIBRARIES.items():
        path = model / name
        if not path.exists():
            continue
        bytes_read = size(path)
        for each in [path] if path.is_file() else path.rglob("*"):
            if each.is_file():
                each.read_bytes()
        found = measure(python, model, name, word, runs)
        if found is None:
            rows.append((name, f"{bytes_read / 1e6:,.1f}", f"{loader} (not here)", *[""] * 6))
        else:
            imported, loaded, first, second, memory = found
            seconds = (f"{imported:.2f}", f"{loaded:.2f}", question, f"{1000 * first:,.1f}", f"{1000 * second:,.1f}")
            rows.append((name, f"{bytes_read / 1e6:,.1f}", loader, *seconds, f"{memory:,.0f}"))
    return rows


def main(argv: Sequence[str]) -> None:
    """Prints the table of the model in `argv`."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.exports", description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="the model directory")
    parser.add_argument("--runs", type=int, default=3, help="how many processes load each export")
    parser.add_argument("--python", default=sys.executable, help="the Python that loads them, of another environment")
    parser.add_argument(
        "--nearest",
        action="store_true",
        help="ask the SavedModel for neighbours and for the vector of a text, many times",
    )
    args = parser.parse_args(argv)
    if args.runs < 1:
        raise UserError(f"--runs {args.runs}: expected a whole number, at least 1")
    if args.nearest:
        if not (args.model / layout.SAVED_MODEL).is_dir():
            raise UserError(f"{args.model} has no {layout.SAVED_MODEL}: expected a model directory with this export")
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [args.python, "-c", _NEAREST, str(args.model)]
        sys.stdout.write(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
        return
    for row in table(args.python, args.model, args.runs):
        print("| " + " | ".join(row) + " |")
        if row is _HEAD:
            print("|" + "---|" * len(row))


if __name__ == "__main__":
    sys.exit(console.run(main, sys.argv[1:], "python -m tests.benchmarks.exports"))
