"""The export that Vertex AI Vector Search makes an index of: a folder with JSON lines and nothing else.

A line is a word, its vector, and its count as a number that queries can be restricted by:

    {"id": "paris", "embedding": [0.12, -1.5], "numeric_restricts": [{"namespace": "count", "value_int": 1234}]}

The vectors are those of vectors.bin, and as long. The index scales them to length 1 if it is told to.
The rules for the folder are those of Google's page "Input data format and structure".
"""

import contextlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence

import numpy as np
from tensorflow.io import gfile

from trainer import word2vec_format
from trainer.checked_file import Write, checked_file
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.export_formats import Block, Table, Take
from trainer.word2vec_format import ExportError

COUNT = "count"  # the namespace of the counts
_MAX_FILES = 5000  # that Vector Search reads from a folder
_NUMBERS_PER_FILE = 10_000_000  # which take about 120 MB as text
_FILE = "vectors-{:05d}.json"


@contextlib.contextmanager
def vector_search(table: Table, path: str) -> Iterator[Take]:
    """Writes the folder, as a format (see trainer.export_formats).

    Args:
        table: the table of the vectors.
        path: the folder, which does not exist yet.
    """
    gfile.makedirs(path)
    rows_per_file = max(1, _NUMBERS_PER_FILE // table.embedding_dim, -(-table.num_named // _MAX_FILES))
    counts = table.dataset.counts()[FIRST_WORD_ID:]
    with contextlib.ExitStack() as stack:
        write: Write = stack.enter_context(checked_file(os.path.join(path, _FILE.format(0))))
        row = 0  # the next

        def take(block: Block) -> None:
            nonlocal row, write
            if not np.isfinite(block.named).all():
                raise ExportError("a vector holds an infinite number, which JSON cannot hold: train with a lower rate")
            done = 0
            while done < len(block.named):
                if row and row % rows_per_file == 0:
                    stack.close()  # which reads the file back
                    write = stack.enter_context(checked_file(os.path.join(path, _FILE.format(row // rows_per_file))))
                some = slice(done, min(len(block.named), done + rows_per_file - row % rows_per_file))
                size = some.stop - some.start
                for content in _lines(block.words[some], block.named[some], counts[row : row + size]):
                    write(content)
                done, row = some.stop, row + size

        yield take


def _lines(words: Sequence[str], vectors: np.ndarray, counts: np.ndarray) -> Iterator[bytes]:
    """The lines of some words, in pieces."""
    rest = zip(words, counts.tolist(), strict=True)
    for _, tsv in word2vec_format.text_rows(words, vectors):
        rows = tsv.replace(b"\t", b", ").splitlines()
        yield b"".join(
            b'{"id": %b, "embedding": [%b], "numeric_restricts": [{"namespace": "%b", "value_int": %d}]}\n'
            % (json.dumps(word).encode(), numbers, COUNT.encode(), count)
            for numbers, (word, count) in zip(rows, itertools.islice(rest, len(rows)), strict=True)
        )
