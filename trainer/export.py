"""Trained embeddings -> the files that other programs load. Each file is read back before it replaces an older one.

vectors.bin, vectors.txt     word2vec's formats, which gensim and others read
vectors.tsv, metadata.tsv    the Embedding Projector's vectors and words
saved_model/                 words or text -> vectors, nearest neighbours; TensorFlow alone loads it
context_vectors.bin          the vectors of words as context, in word2vec's binary format
vocabulary.txt               the words with their counts, as word2vec.c's -save-vocab writes them
static_embedding/            text -> vectors for sentence-transformers, see trainer.static_embedding
vector_search/               the input of an index of Vertex AI Vector Search, see trainer.vector_search
state/                       what training on needs, see trainer.state
"""

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from tensorflow.io import gfile

from trainer import export_formats, static_embedding, vector_search
from trainer.checked_file import DIFFERS, checked_file, write_numbers
from trainer.config import TrainerConfig
from trainer.dataset import Dataset
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.errors import UserError
from trainer.export_formats import Block, Format, Table, Take, hand_out
from trainer.interrupt import cleaning_up
from trainer.layout import (
    CONTEXT_VECTORS,
    COUNTS,
    DEFAULT_EXPORTS,
    EXPORTS,
    METADATA,
    SAVED_MODEL,
    STATE_ACCUMULATORS,
    STATE_FILE,
    STATE_FOLDER,
    STATE_VOCABULARY,
    STATIC_EMBEDDING,
    TEMPORARY_SUFFIX,
    VECTOR_SEARCH,
    VECTORS_BINARY,
    VECTORS_TABLE,
    VECTORS_TEXT,
)
from trainer.news import logger
from trainer.plain_path import plain_path
from trainer.saved_model import SavedModelWriter
from trainer.state import CONTEXTS, TARGETS, FileSum, array_header, state_json
from trainer.word2vec_format import ExportError

_WORDS_LOOKED_UP = 1000  # in the SavedModel, to check it


@dataclasses.dataclass(frozen=True)
class Others:
    """What is exported beside the target embeddings.

    Args:
        contexts: the blocks of the context embeddings, which are like those of the target embeddings.
        optimizer: the value of --optimizer, for the state.
        accumulators: blocks [n] of what row-wise Adagrad has added up for each table; none for another optimizer.
        keeps_state: whether to write the state.
    """

    contexts: Iterator[np.ndarray]
    optimizer: str
    accumulators: Sequence[Iterator[np.ndarray]]
    keeps_state: bool


def possible_exports(config: TrainerConfig, dataset: Dataset) -> TrainerConfig:
    """The settings with --exports that can be written for a dataset.

    Args:
        config: the settings. With `--exports all`, what is impossible is left out, and a warning tells why.
        dataset: the dataset.

    Raises:
        UserError: an export that is impossible is asked for by its name.
    """
    names, reason = config.names_of_exports, static_embedding.obstacle(dataset)
    if STATIC_EMBEDDING not in names or not reason:
        return config
    if STATIC_EMBEDDING in config.exports.split(","):
        raise UserError(f"--exports {config.exports}: {STATIC_EMBEDDING} cannot be written: {reason}; leave it out")
    logger.warning(f"{STATIC_EMBEDDING} is not written: {reason}")
    return dataclasses.replace(config, exports=",".join(name for name in names if name != STATIC_EMBEDDING))


def export(
    dataset: Dataset,
    pieces: Iterator[np.ndarray],
    embedding_dim: int,
    directory: str,
    before_replacing: Callable[[], None] = lambda: None,
    names: Sequence[str] = DEFAULT_EXPORTS,
    others: Others | None = None,
) -> list[str]:
    """Writes files to a temporary directory, reads them back, and only then replaces older ones.

    Only the SavedModel and the state have [PAD] and [UNK]. They are zero vectors in the SavedModel.

    The table of embeddings comes in pieces, each of which is dropped before the next is taken. So this function holds
    one piece at a time. It holds a table when `pieces` has ended: then it loads the SavedModel to check it.

    Args:
        dataset: the dataset with the words and the transform graph.
        pieces: consecutive blocks of rows [n, D] float32, V rows in all, those of trainer.row_blocks.row_blocks.
        embedding_dim: D.
        directory: the model directory.
        before_replacing: is called when all is written, before the first of the older files is replaced.
        names: which files to write, of trainer.layout.EXPORTS. Older files of other names are removed.
        others: what context_vectors.bin and the state are made of. It is taken before the first piece. None if neither
            is to be written.

    Returns:
        The names of the files and folders in `directory`.

    Raises:
        ExportError: a file that was read back differs from what was written.
        ValueError: a piece is not as it should be, or the pieces do not add up to V rows.
        UserError: the dataset has been replaced since it was opened, so that its words are not those of the vectors.
    """
    written = [name for name in EXPORTS if name in names] + ([STATE_FOLDER] if others and others.keeps_state else [])
    with plain_path(directory) as plain:
        temporary = os.path.join(plain, uuid.uuid4().hex[:8] + TEMPORARY_SUFFIX)
        gfile.makedirs(temporary)
        try:
            with cleaning_up(lambda: gfile.rmtree(temporary)):
                _write_all(dataset, pieces, embedding_dim, temporary, written, others)
                dataset.check_unchanged()
                before_replacing()
                for name in (*EXPORTS, STATE_FOLDER):
                    _replace(os.path.join(plain, name), os.path.join(temporary, name) if name in written else None)
        finally:
            if gfile.exists(temporary):  # in object storage, a directory vanishes with its last file
                gfile.rmtree(temporary)
    return written


def _replace(final: str, new: str | None) -> None:
    """Puts a new file or folder in place of an older one, or removes the older one."""
    marker = os.path.join(final, STATE_FILE)
    if gfile.exists(marker):  # a state that is half removed must not be taken for a whole one
        gfile.remove(marker)
    if gfile.isdir(final):
        gfile.rmtree(final)
    elif new is None and gfile.exists(final):
        gfile.remove(final)
    if new is not None:
        gfile.rename(new, final, overwrite=True)


def _write_all(
    dataset: Dataset,
    pieces: Iterator[np.ndarray],
    embedding_dim: int,
    directory: str,
    names: Sequence[str],
    others: Others | None,
) -> None:
    """Writes the files and folders with some names to a directory, and reads them back."""
    table = Table(dataset, dataset.words(), embedding_dim)
    paths = {name: os.path.join(directory, name) for name in names}
    sums: dict[str, FileSum] = {}  # of the files in the state
    folder = paths.get(STATE_FOLDER, "") if others else ""
    if folder:
        gfile.makedirs(folder)

    def array(name: str) -> list[contextlib.AbstractContextManager[Take]]:
        """The file of the state for a table, if there is to be a state."""
        return [export_formats.array(table, os.path.join(folder, name), sums)] if folder else []

    if others and (folder or CONTEXT_VECTORS in paths):
        binary = [export_formats.binary(table, paths[CONTEXT_VECTORS])] if CONTEXT_VECTORS in paths else []
        _write_table(table, others.contexts, [*binary, *array(CONTEXTS)])
    formats = [function(table, paths[name]) for name, function in _FORMATS.items() if name in paths]
    if VECTORS_TEXT in paths or VECTORS_TABLE in paths:
        formats.append(export_formats.text(table, paths.get(VECTORS_TEXT, ""), paths.get(VECTORS_TABLE, "")))
    _write_table(table, pieces, [*formats, *array(TARGETS)])
    if METADATA in paths:
        with checked_file(paths[METADATA]) as write:
            write("".join(word + "\n" for word in table.words[FIRST_WORD_ID:]).encode())
    if COUNTS in paths:
        with checked_file(paths[COUNTS]) as write:
            write(b"".join(dataset.vocabulary.splitlines(keepends=True)[FIRST_WORD_ID:]).replace(b"\t", b" "))
    if others and folder:
        _finish_state(table, others, folder, sums)


def _write_table(
    table: Table, pieces: Iterator[np.ndarray], formats: Sequence[contextlib.AbstractContextManager[Take]]
) -> None:
    """Writes a table that comes in pieces to files of several formats, and completes them."""
    with contextlib.ExitStack() as stack:
        takes = [stack.enter_context(each) for each in formats]
        hand_out(table, pieces, takes)


def _finish_state(table: Table, others: Others, folder: str, sums: dict[str, FileSum]) -> None:
    """Writes all of the state but the tables. state.json, which comes last, states the sums of all files."""
    for name, blocks in zip(STATE_ACCUMULATORS, others.accumulators, strict=False):
        with checked_file(os.path.join(folder, name), sums) as write:
            write(array_header([len(table.words)]))
            for block in blocks:
                write_numbers(write, block)
    with checked_file(os.path.join(folder, STATE_VOCABULARY), sums) as write:
        write(table.dataset.vocabulary)
    with checked_file(os.path.join(folder, STATE_FILE)) as write:
        write(state_json(len(table.words), table.embedding_dim, others.optimizer, table.dataset.fingerprint, sums))


@contextlib.contextmanager
def _saved_model(table: Table, path: str) -> Iterator[Take]:
    """The SavedModel, as a format. At the end it is loaded, and gives the vectors of some words."""
    writer = SavedModelWriter(table.dataset, table.embedding_dim, path)
    first_vectors = np.zeros([0, table.embedding_dim], np.float32)

    def take(block: Block) -> None:
        nonlocal first_vectors
        writer.write_rows(block.rows)
        first_vectors = np.concatenate([first_vectors, block.named[: _WORDS_LOOKED_UP - len(first_vectors)]])

    with ThreadPoolExecutor(1) as pool:
        graph = pool.submit(writer.write_graph)  # while the blocks come
        yield take
        graph.result()
    writer.finish()
    words = table.words[FIRST_WORD_ID:][: len(first_vectors)]
    with tf.device("CPU:0"):  # a table that several GPUs have trained may be too large for one
        signature = tf.saved_model.load(path).signatures["embed_words"]
        found = signature(words=tf.constant(words, tf.string))["vectors"]
    if not np.array_equal(found, first_vectors):
        raise ExportError(DIFFERS.format(os.path.basename(path)))


# The formats of the target table, each with a file or folder of its own. Their `with` blocks end in reverse order.
_FORMATS: dict[str, Format] = {
    SAVED_MODEL: _saved_model,
    VECTORS_BINARY: export_formats.binary,
    STATIC_EMBEDDING: static_embedding.static_embedding,
    VECTOR_SEARCH: vector_search.vector_search,
}
