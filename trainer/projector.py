"""The words for the Projector of TensorBoard, which shows them as a cloud of points.

They are a folder in the folder of the logs, with a name of its own for each run:

    vectors.tsv                the vectors, with a tab between two numbers
    metadata.tsv               the words and their counts, under the header `word<TAB>count`
    projector_config.pbtxt     names these two
    events.out.tfevents...     holds no event

TensorBoard looks for a configuration only where a folder with an event file has appeared. So the event file comes last,
and a TensorBoard that is running shows the words as soon as they are there. It keeps the vectors of a folder in memory,
but reads the words again. So a new run must not use the name of an older one. The vectors are text, because TensorBoard
tries to read a file as text first, and takes some files of raw numbers for it.
"""

import contextlib
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from tensorflow.io import gfile

from trainer import preflight, word2vec_format
from trainer.dataset import Dataset
from trainer.dataset_layout import FIRST_WORD_ID, vocabulary_counts, vocabulary_tokens
from trainer.interrupt import cleaning_up
from trainer.layout import PROJECTOR_FOLDER

_ID_DIGITS = 8  # of the id of a run, in the folder's name
_NAME = re.compile(rf"{PROJECTOR_FOLDER}[0-9a-f]{{{_ID_DIGITS}}}")
_VECTORS = "vectors.tsv"
_METADATA = "metadata.tsv"
_HEADER = b"word\tcount\n"
_CONFIG = "projector_config.pbtxt"  # TensorBoard looks for this name
# The paths are relative to the file, so the logs can be moved.
_CONFIG_TEXT = f"""\
embeddings {{
  tensor_name: "word vectors"
  tensor_path: "{_VECTORS}"
  metadata_path: "{_METADATA}"
}}
"""

Watch = Callable[[Iterator[np.ndarray]], Iterator[np.ndarray]]


@contextlib.contextmanager
def writing(dataset: Dataset, log_dir: str, run: str, num_words: int) -> Iterator[Watch]:
    """Writes the words for the Projector while the table is exported in the `with` block.

    The new words replace those of earlier runs at the end of the block, unless it raises an exception.

    Args:
        dataset: the dataset, which has the words and their counts.
        log_dir: the directory of TensorBoard's files.
        run: the id of the run, in hexadecimal digits.
        num_words: how many of the most frequent words to write; 0 only removes those of earlier runs.

    Yields:
        A function that takes the blocks of the table, [n, D] float32, and gives them on one by one.
    """
    ids = most_frequent(dataset.counts(), num_words)
    name = f"{PROJECTOR_FOLDER}{run[:_ID_DIGITS]}"
    folder = os.path.join(log_dir, name)
    if not len(ids):
        yield iter
        _remove_all_but("", log_dir)
        return
    preflight.remove(folder)
    gfile.makedirs(folder)
    with cleaning_up(lambda: preflight.remove(folder)):
        try:
            with gfile.GFile(os.path.join(folder, _VECTORS), "wb") as file:
                yield functools.partial(_watched, ids=ids, write=file.write)
            with gfile.GFile(os.path.join(folder, _METADATA), "wb") as file:
                for piece in _metadata(dataset.vocabulary, ids):
                    file.write(piece)
            with gfile.GFile(os.path.join(folder, _CONFIG), "w") as file:
                file.write(_CONFIG_TEXT)
            tf.summary.create_file_writer(folder).close()
        except BaseException:
            preflight.remove(folder)
            raise
    _remove_all_but(name, log_dir)


def most_frequent(counts: np.ndarray, num_words: int) -> np.ndarray:
    """The ids of the most frequent words, in rising order. [PAD] and [UNK] are no words.

    Args:
        counts: [V] int64, the count of each id. If counts are equal, lower ids are taken first.
        num_words: how many words; all if there are fewer.
    """
    by_count = np.argsort(-counts[FIRST_WORD_ID:], kind="stable")[:num_words]
    return np.sort(by_count) + FIRST_WORD_ID


def _watched(pieces: Iterator[np.ndarray], ids: np.ndarray, write: Callable[[bytes], None]) -> Iterator[np.ndarray]:
    """Gives pieces of the table on, and writes those of their rows that have some ids."""
    start = 0
    for piece in pieces:
        first, last = np.searchsorted(ids, [start, start + len(piece)])
        for rows in word2vec_format.table_rows(piece[ids[first:last] - start]):
            write(rows)
        start += len(piece)
        yield piece
        del piece  # the next one is made now, and they can be large


def _metadata(vocabulary: bytes, ids: np.ndarray) -> Iterator[bytes]:
    """The lines of the metadata: the header, and one for each id."""
    lines = zip(vocabulary_tokens(vocabulary), vocabulary_counts(vocabulary), strict=True)
    is_chosen = np.zeros(ids[-1] + 1, bool)
    is_chosen[ids] = True
    chosen = itertools.compress(lines, is_chosen)
    return itertools.chain([_HEADER], (b"%b\t%d\n" % line for line in chosen))


def _remove_all_but(name: str, log_dir: str) -> None:
    """Removes the folders of earlier runs."""
    for entry in gfile.listdir(log_dir) if gfile.isdir(log_dir) else ():
        other = entry.rstrip("/")
        if other != name and _NAME.fullmatch(other):
            preflight.remove(os.path.join(log_dir, other))
