"""The parts of the benchmark that need gensim: its training, and the scoring of all vectors by its evaluators.

    python -m tests.benchmarks.peers train '{"corpus": "corpus.tok", "output": "vectors.bin", ...}'

Each runs in a process of its own. Arguments and results are JSON, and the functions' docstrings describe them.
"""

import json
import math
import sys
import time

from gensim.models import KeyedVectors, Word2Vec


def train(corpus: str, output: str, epochs: int, workers: int, seed: int, settings: dict) -> dict:
    """Trains skip-gram vectors.

    Args:
        corpus: a file with a sentence on each line, in which single spaces separate the tokens. gensim reads a file
            faster than an iterable.
        output: the file to write the vectors to, in word2vec's binary format.
        epochs, workers, seed: gensim's parameters of these names.
        settings: more of gensim's parameters.

    Returns:
        words_per_second, which counts all words of the corpus, also those that are dropped, once for each epoch; words
        (of the corpus); vocab_size; and the seconds that the vocabulary, the training and the saving took.
    """
    times = [time.perf_counter()]
    model = Word2Vec(sg=1, **settings, epochs=epochs, workers=workers, seed=seed)
    model.build_vocab(corpus_file=corpus)
    times.append(time.perf_counter())
    sizes = {"total_examples": model.corpus_count, "total_words": model.corpus_total_words}
    model.train(corpus_file=corpus, epochs=epochs, **sizes)
    times.append(time.perf_counter())
    model.wv.save_word2vec_format(output, binary=True)
    times.append(time.perf_counter())
    vocabulary_seconds, train_seconds, save_seconds = (b - a for a, b in zip(times, times[1:], strict=False))
    return {
        "words_per_second": model.corpus_total_words * epochs / train_seconds,
        "words": model.corpus_total_words,
        "vocab_size": len(model.wv),
        "vocabulary_seconds": vocabulary_seconds,
        "train_seconds": train_seconds,
        "save_seconds": save_seconds,
    }


def score(vectors: str) -> dict:
    """Scores vectors with the test sets that are part of the gensim package.

    Args:
        vectors: a file in word2vec's binary format.

    Returns:
        wordsim353 and simlex999 (Spearman's rho), analogies (accuracy among the 30,000 most frequent words) and the
        mean of the three. A score is 0 if the vocabulary has no words of the test set.
    """
    # Imported here, because the training is timed with its imports and does not need this one.
    from gensim.test.utils import datapath

    # pWord2Vec cuts long words after 99 bytes, which may be within a character.
    known = KeyedVectors.load_word2vec_format(vectors, binary=True, unicode_errors="replace")
    accuracy, _ = known.evaluate_word_analogies(datapath("questions-words.txt"), restrict_vocab=30_000)
    scores = {
        "wordsim353": _similarity(known, datapath("wordsim353.tsv")),
        "simlex999": _similarity(known, datapath("simlex999.txt")),
        "analogies": float(accuracy),
    }
    return {**scores, "mean": sum(scores.values()) / len(scores)}


def _similarity(known: KeyedVectors, path: str) -> float:
    try:
        rho = float(known.evaluate_word_pairs(path)[1].statistic)
    except ValueError:  # the vocabulary has no pair of the test set
        return 0.0
    return 0.0 if math.isnan(rho) else rho  # a single pair has no order


if __name__ == "__main__":
    print(json.dumps({"train": train, "score": score}[sys.argv[1]](**json.loads(sys.argv[2]))))
