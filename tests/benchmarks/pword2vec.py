"""The peer pWord2Vec: Intel's skip-gram training in C++, which works on small batches in several threads.

The user brings its program. Its source is in the repository IntelLabs/pWord2Vec.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.processes import execute
from trainer.errors import UserError

_FLAGS = {
    "vector_size": "-size",
    "window": "-window",
    "min_count": "-min-count",
    "negative": "-negative",
    "sample": "-sample",
}
_EXPECTED = "expected the program pWord2Vec"
_SECONDS_FOR_HELP = 20


def check(program: str) -> None:
    """Checks that a program is pWord2Vec, which prints a list of its flags if it gets none.

    Raises:
        UserError: it is something else, or does not start.
    """
    if not os.path.isfile(program):
        raise UserError(f"--pword2vec {program} is not there: {_EXPECTED}")
    if not os.access(program, os.X_OK):
        raise UserError(f"--pword2vec {program} is not executable: {_EXPECTED}")
    command, no_input = [os.path.abspath(program)], subprocess.DEVNULL
    try:
        ended = subprocess.run(command, stdin=no_input, capture_output=True, timeout=_SECONDS_FOR_HELP)
    except OSError as error:
        raise UserError(f"--pword2vec {program} cannot be started ({error.strerror}): {_EXPECTED}") from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"--pword2vec {program} does not end if it has no flags: {_EXPECTED}") from error
    if ended.returncode:
        lines = ended.stderr.decode(errors="replace") or ended.stdout.decode(errors="replace")
        raise UserError(_failure(program, ended.returncode, lines))
    if b"-batch-size" not in ended.stdout:
        raise UserError(f"--pword2vec {program} has no flag -batch-size in the list that it prints: {_EXPECTED}")


def _failure(program: str, code: int, output: str) -> str:
    last = (output.strip().splitlines() or ["it printed nothing"])[-1].strip()
    return f"--pword2vec {program} ended with {code} ({last}): {_EXPECTED}, built for this machine"


def train(program: str, tokens: Path, vectors: Path, epochs: int, threads: int, settings: Mapping[str, float]) -> dict:
    """Trains skip-gram vectors.

    pWord2Vec has no flag for a seed. It always draws the same numbers, and two runs with several threads differ only
    because the threads change the same rows without waiting for one another.

    Its speed is read from its progress, which tells how many words it trains in a second. The clock of this starts when
    all threads have read the text, and the words are those of the vocabulary and the ends of lines. pWord2Vec also
    prints the number of these words in the text. So the seconds of the training are this number, times the epochs,
    divided by the last speed that it tells. For words_per_second, all words of the corpus count once for each epoch, as
    they do for gensim and for this project, and are divided by these seconds.

    Args:
        program: the path of pWord2Vec.
        tokens: a file with a sentence on each line, in which single spaces separate the tokens.
        vectors: the file to write the vectors to, in word2vec's binary format.
        epochs: how many times to go through the text.
        threads: how many threads it uses.
        settings: values of the other flags, by the names of gensim's parameters.

    Returns:
        The figures of `execute`, words_per_second, words (of the corpus), vocab_size (without the end of a line),
        train_seconds and the path of the vectors.

    Raises:
        UserError: it has failed, or has written no vectors.
    """
    flags = {_FLAGS[name]: value for name, value in settings.items()}
    flags |= {"-batch-size": 2 * settings["window"] + 1, "-iter": epochs, "-threads": threads, "-binary": 1}
    # It has room for paths of 99 bytes, and does not check that. Relative ones are short.
    flags |= {"-train": os.path.relpath(tokens, vectors.parent), "-output": vectors.name}
    command = [program, *(str(part) for flag in flags.items() for part in flag)]
    ended = execute(command, vectors.parent)
    if ended.code:
        raise UserError(_failure(program, ended.code, ended.errors or ended.output))
    if not vectors.is_file() or not vectors.stat().st_size:
        raise UserError(f"--pword2vec {program} has written no vectors: {_EXPECTED}")
    rates = re.findall(r"Words/sec: ([0-9.]+)k", ended.output)
    counted = re.search(r"Words in train file: ([0-9]+)", ended.output)
    vocab_size = re.search(r"Vocab size: ([0-9]+)", ended.output)
    if not counted or not vocab_size:
        raise UserError(f"--pword2vec {program} has not told how many words it found: {_EXPECTED}")
    if not rates:
        raise UserError(
            f"--pword2vec {program} has not told its speed, which it does after 10,000 words in each of its "
            f"{threads} threads: expected a longer --corpus"
        )
    with open(tokens, "rb") as text:
        words = sum(len(line.split()) for line in text)
    train_seconds = epochs * int(counted[1]) / (1e3 * float(rates[-1]))
    return {
        **ended.figures,
        "words_per_second": words * epochs / train_seconds,
        "words": words,
        "vocab_size": int(vocab_size[1]) - 1,
        "train_seconds": train_seconds,
        "vectors": str(vectors),
    }
