"""Reads a model for comparisons: its word vectors and, when they are asked for, its context vectors."""

import os
from functools import partial

from trainer import word2vec_format
from trainer.comparison import Model
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.files import exists, is_directory
from trainer.layout import CONTEXT_VECTORS, STATE_FILE, STATE_FOLDER, VECTORS_BINARY, VECTORS_TEXT
from trainer.state import CONTEXTS, TARGETS, State, open_state
from trainer.word2vec_format import WordVectors


def load_model(name: str) -> Model:
    """Reads a model.

    Args:
        name: a model directory, or a file with word vectors, which has no context vectors.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    if not is_directory(name):
        return Model(name, word2vec_format.load(name))
    exported = os.path.join(name, CONTEXT_VECTORS)
    contexts = partial(word2vec_format.load, exported) if exists(exported) else None
    vectors = load_vectors_of(name)
    if not _has_state(name):
        return Model(name, vectors, contexts)
    state = open_state(name, "MODEL")
    has_same_words = [word.encode() for word in vectors.words] == list(state.tokens())[FIRST_WORD_ID:]
    counts = state.counts()[FIRST_WORD_ID:] if has_same_words else None
    return Model(name, vectors, contexts or partial(_table, state, CONTEXTS), counts)


def load_vectors_of(name: str) -> WordVectors:
    """Reads the word vectors of a model.

    Args:
        name: a model directory, whose vectors may be in an exported file or in its state; or a file with word vectors.

    Raises:
        UserError: there are none, or they cannot be read or are damaged.
    """
    if not is_directory(name):
        return word2vec_format.load(name)
    paths = [os.path.join(name, file) for file in (VECTORS_BINARY, VECTORS_TEXT)]
    found = next(filter(exists, paths), "")
    if not found and _has_state(name):
        return _table(open_state(name, "MODEL"), TARGETS)
    return word2vec_format.load(found or paths[0])


def _has_state(name: str) -> bool:
    return exists(os.path.join(name, STATE_FOLDER, STATE_FILE))


def _table(state: State, name: str) -> WordVectors:
    """One of the tables in the state of a model."""
    return WordVectors(state.words()[FIRST_WORD_ID:], state.read(name)[FIRST_WORD_ID:])
