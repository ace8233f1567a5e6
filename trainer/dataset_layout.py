"""The names of files, tensors and ids in a dataset directory, and the form of its vocabulary file."""

import re
from collections.abc import Iterator

import numpy as np

MANIFEST_FILE = "manifest.json"
PHRASES_FILE = "phrases.tsv"  # the words that are joined; only in a dataset with phrases
VOCABULARY_FILE = "vocabulary.tsv"  # a line `token<TAB>count` for each id, from 0
TRANSFORM_FOLDER = "transform_fn"  # the transform graph: a SavedModel that turns lines of text into ids
TEXT = "text"  # the transform graph's input, lines [N]
IDS = "ids"  # its output, ragged [N, words]

# The tokens of the first ids.
RESERVED_TOKENS = ("[PAD]", "[UNK]")
# Ids below FIRST_WORD_ID are not words: 0 fills arrays up ([PAD]), and 1 stands for unknown words ([UNK]).
UNK_ID = 1
FIRST_WORD_ID = 2

_LINES = re.compile(rb"(?:[^\t\n]++\t[0-9]++\n)*+")
_TOKEN = re.compile(rb"([^\t\n]++)\t([0-9]++)\n")


def vocabulary_tokens(vocabulary: bytes) -> Iterator[bytes]:
    """The token of each line of a vocabulary file, one by one, as millions of them would take much memory."""
    return (line[1] for line in _TOKEN.finditer(vocabulary))


def vocabulary_counts(vocabulary: bytes) -> Iterator[int]:
    """The count of each line of a vocabulary file."""
    return (int(line[2]) for line in _TOKEN.finditer(vocabulary))


def damage_in_vocabulary(vocabulary: bytes) -> str | None:
    """What is wrong with the contents of a vocabulary file, or None. A million lines take half a second."""

    def line_at(position: int) -> str:
        line = 1 + vocabulary.count(b"\n", 0, position)
        return f"line {line} of {VOCABULARY_FILE}"

    lines = _LINES.match(vocabulary)
    if lines and lines.end() < len(vocabulary):
        return f"{line_at(lines.end())} is not a token, a tab and a count"
    try:
        vocabulary.decode()
    except UnicodeDecodeError as error:
        return f"{line_at(error.start)} is not UTF-8"
    hashes = np.fromiter(map(hash, vocabulary_tokens(vocabulary)), np.int64)
    for line, (expected, found) in enumerate(zip(RESERVED_TOKENS, vocabulary_tokens(vocabulary), strict=False), 1):
        if found != expected.encode():
            return f"line {line} of {VOCABULARY_FILE} has not the token {expected}"
    values, counts = np.unique(hashes, return_counts=True)
    repeated = set(values[counts > 1].tolist())
    seen: set[bytes] = set()
    for line, token in enumerate(vocabulary_tokens(vocabulary) if repeated else (), 1):
        if hash(token) in repeated:
            if token in seen:
                return f"line {line} of {VOCABULARY_FILE} repeats the token {token.decode()!r}"
            seen.add(token)
    return None
