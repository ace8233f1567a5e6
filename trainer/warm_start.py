"""Lets a run start from the vectors of an earlier one, or from those of another program: the flag --init.

Rows are found by their words. A word that the earlier vectors do not have keeps the row that it has got already, as
every word has in a run without --init.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer import word2vec_parser
from trainer.config import TrainerConfig
from trainer.dataset import Dataset
from trainer.dataset_layout import FIRST_WORD_ID, vocabulary_counts, vocabulary_tokens
from trainer.errors import UserError
from trainer.files import is_directory, mapped
from trainer.group import Group
from trainer.layout import STATE_ACCUMULATORS, STATE_TABLES
from trainer.model import SkipGram
from trainer.news import logger
from trainer.optimizer import RowwiseAdagrad
from trainer.row_blocks import is_table, replace_rows
from trainer.state import State, open_state

_EXPECTED = "a model, or word vectors in word2vec's or GloVe's format"
_HASHED_BYTES = 1 << 20


class Found(NamedTuple):
    """What became of the words."""

    taken: int  # words of the dataset that go on from the earlier vectors
    new: int  # words of the dataset that the earlier vectors do not have
    gone: int  # words of the earlier vectors that the dataset does not have
    new_share: float  # of the words of the text that are in the vocabulary: how many are new


@dataclass(frozen=True)
class VectorFile:
    """A file with word vectors, in a format that trainer.word2vec_parser knows."""

    path: str
    embedding_dim: int
    fingerprint: str  # a checksum of its size and its beginning

    def blocks(self) -> Iterator[tuple[list[bytes], np.ndarray]]:
        """The words and vectors, in blocks."""
        with mapped(self.path, _EXPECTED) as data:
            for words, vectors in word2vec_parser.parse_blocks(self.path, data):
                yield [word.encode() for word in words], vectors


def open_source(config: TrainerConfig) -> State | VectorFile:
    """Opens what --init names, which may be a model or a file.

    Raises:
        UserError: it cannot be read or is damaged, or its vectors have another length than config.embedding_dim.
    """
    path = config.init.rstrip("/")
    source = open_state(path, "--init") if is_directory(path) else _open_file(path)
    if source.embedding_dim != config.embedding_dim:
        raise UserError(
            f"--embedding_dim {config.embedding_dim}: the vectors of --init {config.init} have "
            f"{source.embedding_dim} numbers each: expected --embedding_dim {source.embedding_dim}, or another --init"
        )
    return source


def _open_file(path: str) -> VectorFile:
    try:
        with mapped(path, _EXPECTED) as data:
            summary = hashlib.sha256(b"%d " % len(data) + data[:_HASHED_BYTES])
            return VectorFile(path, word2vec_parser.dimension(path, data), summary.hexdigest()[:16])
    except UserError as error:
        raise UserError(f"--init {error}") from error


def start_from(config: TrainerConfig, dataset: Dataset, model: SkipGram, group: Group) -> Found:
    """Lets a model start from what --init names. All processes that train together must call it.

    Args:
        config: the settings.
        dataset: the dataset that the model is to be trained on.
        model: the model, whose optimizer is built. It may hold some of the columns.
        group: the processes that train together.

    Raises:
        UserError: --init cannot be used, or is not the same for all processes. The model must not be used then.
    """
    source = open_source(config)
    if not group.agree(group.told_by_chief(source.fingerprint) == source.fingerprint):
        raise UserError(
            f"--init {config.init} is not the same for all processes: expected a model or a file in a folder or a "
            "bucket that all machines share"
        )
    found = take_over(source, dataset, model)
    if not found.taken:
        raise UserError(
            f"--init {config.init} has none of the {found.new:,} words of --data {config.data}: expected vectors of "
            "these words, which are told apart by upper case and lower case, too"
        )
    logger.info(
        f"{found.taken:,} words go on from {config.init}; {found.new:,} are new, which are {found.new_share:.1%} of "
        f"the text, and start as usual; {found.gone:,} of its words are gone"
    )
    if not isinstance(source, State):
        logger.info("the context vectors and the optimizer start anew, as a file of vectors has nothing of them")
    elif not _keeps_accumulators(source, model):
        logger.info(
            f"the optimizer starts anew, since nothing is kept of {source.optimizer} for {config.optimizer}; the "
            "context vectors go on, too"
        )
    return found


def take_over(source: State | VectorFile, dataset: Dataset, model: SkipGram) -> Found:
    """Puts the rows of words that are in the dataset into the tables of a model.

    A state also has context vectors, and those numbers of the optimizer that belong to a row. They are taken over if
    both optimizers are row-wise Adagrad.

    Args:
        source: the earlier vectors.
        dataset: the dataset that the model is to be trained on.
        model: the model, whose optimizer is built. It may hold some of the columns.

    Returns:
        What became of the words.

    Raises:
        UserError: a file is damaged. The model must not be used then.
    """
    ids = {token: row for row, token in enumerate(vocabulary_tokens(dataset.vocabulary))}
    tables = [variable.value for variable in model.trainable_variables]
    is_taken = np.zeros(dataset.vocab_size, bool)
    num_words = 0
    if isinstance(source, State):
        rows = np.fromiter((ids.get(token, -1) for token in source.tokens()), np.int64)
        variables = dict(zip(STATE_TABLES, tables, strict=True))
        if _keeps_accumulators(source, model):
            variables |= zip(STATE_ACCUMULATORS, [each.value for each in model.optimizer.accumulators], strict=True)
        for name, variable in variables.items():
            start = 0
            for block in source.blocks(name):
                _put(model, variable, rows[start : start + len(block)], block)
                start += len(block)
        is_taken[rows[rows >= 0]] = True
        num_words = source.vocab_size - FIRST_WORD_ID
    else:
        for words, vectors in source.blocks():
            rows = np.fromiter((ids.get(word, -1) for word in words), np.int64)
            rows[rows < FIRST_WORD_ID] = -1
            _put(model, tables[0], rows, vectors)
            is_taken[rows[rows >= 0]] = True
            num_words += len(words)
    taken = int(is_taken[FIRST_WORD_ID:].sum())
    counts = np.fromiter(vocabulary_counts(dataset.vocabulary), np.int64)[FIRST_WORD_ID:]
    new_share = float(counts[~is_taken[FIRST_WORD_ID:]].sum() / max(1, counts.sum()))
    return Found(taken, len(counts) - taken, num_words - taken, new_share)


def _keeps_accumulators(source: State | VectorFile, model: SkipGram) -> bool:
    """Whether the optimizer goes on with what it has added up for each row."""
    return isinstance(source, State) and source.has_accumulators and isinstance(model.optimizer, RowwiseAdagrad)


def _put(model: SkipGram, variable: tf.Variable, rows: np.ndarray, values: np.ndarray) -> None:
    """Replaces rows of a variable by values, but not where the row is -1."""
    if is_table(variable):
        values = values[:, model.columns.start : model.columns.stop]
    is_here = rows >= 0
    replace_rows(variable, rows[is_here], values[is_here])
