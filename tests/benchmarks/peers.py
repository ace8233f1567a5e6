"""gensim's part of the benchmark, in processes of its own: its training, and its evaluators for everybody's vectors.

    python -m tests.benchmarks.peers train '{"corpus": "corpus.tok", "output": "vectors.bin", ...}'

Arguments and results are JSON; what they are, the functions say.
"""

import json
import math
import sys
import time

from gensim.models import KeyedVectors, Word2Vec

# The same as the defaults of ours.
SETTINGS = {"vector_size": 128, "window": 5, "min_count": 5, "sg": 1, "negative": 5, "sample": 1e-3}


def train(corpus: str, output: str, epochs: int, workers: int, seed: int) -> dict:
    """Trains skip-gram vectors.

    Args:
        corpus: a sentence a line, tokens separated by single spaces. gensim reads a file faster than an iterable.
        output: for the vectors, in word2vec's binary format.
        epochs, workers, seed: gensim's.

    Returns:
        words_per_second: words of the corpus, those that are dropped as well, times epochs, by train_seconds;
        words (of the corpus), vocab_size, and the seconds of vocabulary, training and saving.
    """
    times = [time.perf_counter()]
    model = Word2Vec(**SETTINGS, epochs=epochs, workers=workers, seed=seed)
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
    """Scores vectors with the test sets that gensim's wheel holds.

    Args:
        vectors: a file in word2vec's binary format.

    Returns:
        wordsim353 and simlex999 (Spearman's rho), analogies (accuracy among the 30,000 most frequent words) and the
        mean of the three; 0 where the words of a test set are not in the vocabulary.
    """
    from gensim.test.utils import datapath  # not above: training is timed with its imports, and needs none of it

    known = KeyedVectors.load_word2vec_format(vectors, binary=True)
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
    except ValueError:  # not one pair is known
        return 0.0
    return 0.0 if math.isnan(rho) else rho  # one pair alone has no order


if __name__ == "__main__":
    print(json.dumps({"train": train, "score": score}[sys.argv[1]](**json.loads(sys.argv[2]))))
