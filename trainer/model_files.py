"""Reads a model for comparisons: its word vectors and, when they are asked for, its context vectors."""

import os
from functools import partial

from trainer import word2vec_format
from trainer.comparison import Model
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.layout import CONTEXT_VECTORS, STATE_FILE, STATE_FOLDER, VECTORS_BINARY, VECTORS_TEXT
from trainer.state import CONTEXTS, TARGETS, open_state
from trainer.word2vec_format import WordVectors


def load_model(name: str) -> Model:
    """Reads a model.

    Args:
        name: a model directory, or a file with word vectors, which has no context vectors.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    if not _is_directory(name):
        return Model(name, word2vec_format.load(name))
    vectors = [path for path in (os.path.join(name, each) for each in (VECTORS_BINARY, VECTORS_TEXT)) if _exists(path)]
    contexts = os.path.join(name, CONTEXT_VECTORS)
    has_state = _exists(os.path.join(name, STATE_FOLDER, STATE_FILE))
    read_contexts = None
    if _exists(contexts):
        read_contexts = partial(word2vec_format.load, contexts)
    elif has_state:
        read_contexts = partial(_from_state, name, CONTEXTS)
    if has_state and not vectors:
        return Model(name, _from_state(name, TARGETS), read_contexts)
    return Model(
        name, word2vec_format.load(vectors[0] if vectors else os.path.join(name, VECTORS_BINARY)), read_contexts
    )


def _from_state(model: str, table: str) -> WordVectors:
    """One of the tables in the state of a model."""
    state = open_state(model, "MODEL")
    return WordVectors(state.words()[FIRST_WORD_ID:], state.read(table)[FIRST_WORD_ID:])


def _is_directory(path: str) -> bool:
    if not word2vec_format.needs_tensorflow(path):
        return os.path.isdir(path)
    from tensorflow.io import gfile

    return bool(gfile.isdir(path))


def _exists(path: str) -> bool:
    if not word2vec_format.needs_tensorflow(path):
        return os.path.exists(path)
    from tensorflow.io import gfile

    return bool(gfile.exists(path))
