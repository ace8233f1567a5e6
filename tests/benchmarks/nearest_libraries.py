"""Nearest neighbours by Faiss and hnswlib, and by an exact search in NumPy: recall, latency, time to build, size.

    pip install -e '.[bench]'
    python -m tests.benchmarks.nearest_libraries MODEL/vectors.bin
    python -m tests.benchmarks.nearest_libraries MODEL/vectors.bin --rows 1000000

A query is the vector of a word, and its 10 neighbours are the words with the largest cosines, itself left out. Recall
is the share of these 10 that a library finds. Queries come one by one. Times are those of the processor, so that other
programs on the machine matter little; those of all cores are added up.

With --rows, there are more vectors than words: each further one is that of a word with noise added. The noise has half
the deviation of the numbers in the vectors. Such vectors are no trained ones, but are as unevenly spread.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer.word2vec_format import WordVectors, load

K = 10
SEED = 1
QUERIES = 1_000

Search = Callable[[np.ndarray], np.ndarray]  # [D] float32 -> ids, K + 1 of them


class Method(NamedTuple):
    """A way to search, with what it took to prepare."""

    name: str
    search: Search
    build_seconds: float
    megabytes: float


def exact(vectors: np.ndarray) -> Method:
    """Compares with all vectors in NumPy."""

    def search(query: np.ndarray) -> np.ndarray:
        cosines = vectors @ query
        best = np.argpartition(-cosines, K + 1)[: K + 1]
        return best[np.argsort(-cosines[best])]

    return Method("NumPy, exact", search, 0.0, vectors.nbytes / 1e6)


def saved_model(path: str, words: list[str], vectors: np.ndarray) -> Method:
    """The signature `nearest` of the SavedModel, which looks a word up and compares with all vectors."""
    import tensorflow as tf

    start = time.process_time()
    nearest = tf.saved_model.load(path).signatures["nearest"]
    row_of = {word: row for row, word in enumerate(words)}
    word_of = {vectors[row].tobytes(): word for row, word in enumerate(words)}

    def search(query: np.ndarray) -> np.ndarray:
        found = nearest(words=tf.constant([word_of[query.tobytes()]]), k=tf.constant(K))["words"].numpy()[0]
        return np.array([row_of[word.decode()] for word in found])

    return Method("SavedModel, exact", search, time.process_time() - start, vectors.nbytes / 1e6)


def faiss_methods(vectors: np.ndarray, has_graph: bool) -> Iterator[Method]:
    """An exact index, one of clusters (IVF), and a graph (HNSW), if wanted."""
    import faiss

    def search(index: faiss.Index, query: np.ndarray) -> np.ndarray:
        return index.search(query[np.newaxis], K + 1)[1][0]

    clusters = int(np.sqrt(len(vectors)))
    for description, settings in (
        ("Flat", [""]),
        (f"IVF{clusters},Flat", ["nprobe=16", "nprobe=64"]),
        *([("HNSW32", ["efSearch=64", "efSearch=256"])] if has_graph else []),
    ):
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        start = time.process_time()
        index = faiss.index_factory(vectors.shape[1], description, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
        seconds = time.process_time() - start
        size = faiss.serialize_index(index).nbytes / 1e6
        faiss.omp_set_num_threads(1)
        for setting in settings:
            if setting:
                faiss.ParameterSpace().set_index_parameters(index, setting)
            name = " ".join(["Faiss", description, setting]).strip()
            yield Method(name, partial(search, index), seconds, size)


def hnswlib_methods(vectors: np.ndarray, has_graph: bool) -> Iterator[Method]:
    """A graph (HNSW), if wanted."""
    if not has_graph:
        return
    import hnswlib

    start = time.process_time()
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=16, ef_construction=200, random_seed=SEED)
    index.add_items(vectors, num_threads=os.cpu_count() or 1)
    seconds = time.process_time() - start
    with tempfile.TemporaryDirectory() as folder:
        index.save_index(f"{folder}/index")
        size = Path(folder, "index").stat().st_size / 1e6
    index.set_num_threads(1)
    for ef in (64, 256):
        index.set_ef(ef)
        yield Method(f"hnswlib M=16 ef={ef}", lambda query: index.knn_query(query, K + 1)[0][0], seconds, size)


def with_noise(vectors: np.ndarray, rows: int) -> np.ndarray:
    """As many unit vectors as asked for: those of words, then those of words with noise. [rows, D] float32."""
    rng = np.random.default_rng(SEED)
    result = np.empty([rows, vectors.shape[1]], np.float32)
    for start in range(0, rows, len(vectors)):
        some = vectors[: rows - start]
        noise = rng.standard_normal(some.shape, np.float32) * (0.5 * float(vectors.std())) if start else 0
        result[start : start + len(some)] = some + noise
    return WordVectors([], result).unit_vectors


def measured(method: Method, vectors: np.ndarray, queries: np.ndarray, neighbours: list[set[int]]) -> str:
    """A row of the table."""
    recalls, times = [], []
    for row, true in zip(queries.tolist(), neighbours, strict=True):
        start = time.process_time()
        found = method.search(vectors[row])
        times.append(1e3 * (time.process_time() - start))
        others = [each for each in found.tolist() if each != row][:K]
        recalls.append(len(true.intersection(others)) / K)
    low, high = np.percentile(times, [50, 95])
    return (
        f"| {method.name} | {np.mean(recalls):.3f} | {low:.2f} | {high:.2f} | {method.build_seconds:.1f} | "
        f"{method.megabytes:,.0f} |"
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", metavar="FILE", help="word vectors in word2vec's .bin or .txt format")
    parser.add_argument(
        "--rows", type=int, default=0, metavar="N", help="how many vectors to search (default: all words)"
    )
    parser.add_argument("--queries", type=int, default=QUERIES, metavar="N", help=f"how many (default: {QUERIES})")
    parser.add_argument(
        "--saved_model", default="", metavar="FOLDER", help="a SavedModel with these words, to measure too"
    )
    parser.add_argument("--no_graphs", action="store_true", help="leave HNSW out, which takes long to build")
    args = parser.parse_args()

    loaded = load(args.vectors)
    vectors = with_noise(loaded.vectors, args.rows or len(loaded.words))
    queries = np.random.default_rng(SEED).choice(len(vectors), min(args.queries, len(vectors)), replace=False)
    reference = exact(vectors)
    neighbours = [set([i for i in reference.search(vectors[row]).tolist() if i != row][:K]) for row in queries.tolist()]
    print(f"{len(vectors):,} vectors of {vectors.shape[1]} numbers, {len(queries)} queries, {os.cpu_count()} cores")
    print("| | recall@10 | ms, median | ms, 95 % below | s to build | MB |\n|---|---|---|---|---|---|")
    print(measured(reference, vectors, queries, neighbours), flush=True)
    if args.saved_model:
        print(measured(saved_model(args.saved_model, loaded.words, vectors), vectors, queries, neighbours), flush=True)
    for methods in (faiss_methods, hnswlib_methods):
        for method in methods(vectors, not args.no_graphs):
            print(measured(method, vectors, queries, neighbours), flush=True)


if __name__ == "__main__":
    main()
