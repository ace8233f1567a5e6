"""The state of a trained model, MODEL/state: all that another run needs to go on from it.

    state.json                  the sizes and the optimizer; the size and the checksum of every other file
    vocabulary.tsv              a line `token<TAB>count` for each id, [PAD] and [UNK] included, as in the dataset
    target_embeddings.npy       [V, D] float32, the vectors of words as targets, by id
    context_embeddings.npy      [V, D] float32, the vectors of words as context, by id
    target_accumulators.npy     [V] float32, what row-wise Adagrad has added up for each row; not there for Adam
    context_accumulators.npy    [V] float32, the same for the context vectors

The arrays are in NumPy's format, so that numpy.load reads them. This module reads them in blocks of rows.
"""

import io
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.dataset_layout import vocabulary_counts, vocabulary_tokens
from trainer.errors import UserError
from trainer.files import exists, reading, size
from trainer.layout import METRICS_FILE, STATE_ACCUMULATORS, STATE_FILE, STATE_FOLDER, STATE_TABLES, STATE_VOCABULARY

TARGETS, CONTEXTS = STATE_TABLES

_FORM = 1  # of the files
_BLOCK_BYTES = 64 << 20
_FLOAT_BYTES = 4
_EXPECTED = "a file of a model's state"
_REPAIR = "copy the model again, or train it again"


@dataclass(frozen=True)
class FileSum:
    """What tells whether a file is as it was written."""

    bytes: int
    crc32: int


@dataclass(frozen=True)
class State:
    """A state that is complete. `open_state` makes it."""

    directory: str  # MODEL/state
    vocab_size: int  # V, [PAD] and [UNK] included
    embedding_dim: int  # D
    optimizer: str  # the value of --optimizer
    dataset: str  # the fingerprint of the dataset that the model was trained on
    fingerprint: str  # a checksum of all files
    _sums: dict[str, FileSum] = field(repr=False)  # by name, of all files but state.json
    _vocabulary: bytes = field(repr=False)  # the contents of the vocabulary file

    @property
    def has_accumulators(self) -> bool:
        """Whether the state holds those of row-wise Adagrad."""
        return all(name in self._sums for name in STATE_ACCUMULATORS)

    def tokens(self) -> Iterator[bytes]:
        """The token of each id, one by one, as millions of them would take much memory."""
        return vocabulary_tokens(self._vocabulary)

    def words(self) -> list[str]:
        """The token of each id, [V]."""
        return [token.decode() for token in self.tokens()]

    def counts(self) -> np.ndarray:
        """How often each id occurs in the text that the model was trained on, [V] int64."""
        return np.fromiter(vocabulary_counts(self._vocabulary), np.int64, self.vocab_size)

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        """Reads an array in blocks of consecutive rows, of up to 64 MB each.

        Args:
            name: one of STATE_TABLES or STATE_ACCUMULATORS.

        Yields:
            [n, D] float32 of a table, [n] float32 of an accumulator. V rows come in all.

        Raises:
            UserError: the file cannot be read, or is not as it was written. All blocks but the last may have been
                given by then, and must not be used.
        """
        path, shape = os.path.join(self.directory, name), array_shape(name, self.vocab_size, self.embedding_dim)
        row_bytes = _FLOAT_BYTES * int(np.prod(shape[1:]))
        rows_at_once = max(1, _BLOCK_BYTES // row_bytes)
        start, crc32 = array_header(shape), zlib.crc32(array_header(shape))
        with reading(path, _EXPECTED) as file:
            found = file.read(len(start))
            is_right = found == start
            for first in range(0, self.vocab_size if is_right else 0, rows_at_once):
                num_rows = min(rows_at_once, self.vocab_size - first)
                data = file.read(num_rows * row_bytes)
                crc32 = zlib.crc32(data, crc32)
                is_last = first + num_rows == self.vocab_size
                is_right = len(data) == num_rows * row_bytes and not (is_last and crc32 != self._sums[name].crc32)
                if not is_right:
                    break
                yield np.frombuffer(data, "<f4").reshape(num_rows, *shape[1:])
        if not is_right:
            raise UserError(f"{path} is damaged, as its contents are not those that were written: {_REPAIR}")

    def read(self, name: str) -> np.ndarray:
        """Reads an array as a whole; the arguments and errors are those of `blocks`.

        Returns:
            [V, D] float32 of a table, [V] float32 of an accumulator.
        """
        array = np.empty(array_shape(name, self.vocab_size, self.embedding_dim), np.float32)
        start = 0
        for block in self.blocks(name):
            array[start : start + len(block)] = block
            start += len(block)
        return array


def open_state(model: str, flag: str) -> State:
    """Reads what a state consists of, and checks that all of its files are there.

    Args:
        model: the model directory, at any path that TensorFlow opens.
        flag: the flag that names it, for messages.

    Raises:
        UserError: the model has no state, or the state is damaged.
    """
    directory = os.path.join(model, STATE_FOLDER)
    path = os.path.join(directory, STATE_FILE)
    if not exists(path):
        if exists(os.path.join(model, METRICS_FILE)):
            raise UserError(
                f"{flag} {model} holds a model without {STATE_FOLDER}/, which training on needs: train it again, "
                "without --no_state"
            )
        raise UserError(f"{flag} {model} holds no {STATE_FOLDER}/{STATE_FILE}: expected the --output of a training run")
    text = _contents(path)
    state = _parsed(text, path)
    sums = {name: FileSum(**each) for name, each in state["files"].items()}
    for name, expected in sums.items():
        if (found := size(os.path.join(directory, name))) != expected.bytes:
            raise UserError(
                f"{os.path.join(directory, name)} is damaged: it has {found:,} bytes instead of {expected.bytes:,}; "
                f"{_REPAIR}"
            )
    vocabulary = _contents(os.path.join(directory, STATE_VOCABULARY))
    if zlib.crc32(vocabulary) != sums[STATE_VOCABULARY].crc32:
        raise UserError(
            f"{os.path.join(directory, STATE_VOCABULARY)} is damaged, as its contents are not those that were written: "
            f"{_REPAIR}"
        )
    return State(
        directory=directory,
        vocab_size=state["vocab_size"],
        embedding_dim=state["embedding_dim"],
        optimizer=state["optimizer"],
        dataset=state["dataset"],
        fingerprint=f"{zlib.crc32(text):08x}",
        _sums=sums,
        _vocabulary=vocabulary,
    )


def state_json(vocab_size: int, embedding_dim: int, optimizer: str, dataset: str, sums: dict[str, FileSum]) -> bytes:
    """The contents of state.json; the arguments are the fields of State."""
    values = {
        "form": _FORM,
        "vocab_size": vocab_size,
        "embedding_dim": embedding_dim,
        "dtype": "float32",
        "optimizer": optimizer,
        "dataset": dataset,
        "files": {name: vars(each) for name, each in sums.items()},
    }
    return (json.dumps(values, indent=1) + "\n").encode()


def array_shape(name: str, vocab_size: int, embedding_dim: int) -> tuple[int, ...]:
    """The shape of the array in a file of the state."""
    return (vocab_size, embedding_dim) if name in STATE_TABLES else (vocab_size,)


def array_header(shape: Sequence[int]) -> bytes:
    """How the file of a float32 array begins in NumPy's format."""
    file = io.BytesIO()
    description = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, description)
    return file.getvalue()


def _parsed(text: bytes, path: str) -> dict[str, Any]:
    """The values in state.json, which is at a path.

    Raises:
        UserError: a value is missing or of the wrong type, or the file is of another version of this program.
    """
    kinds = {"form": int, "vocab_size": int, "embedding_dim": int, "optimizer": str, "dataset": str, "files": dict}
    try:
        values = json.loads(text)
        is_right = all(isinstance(values[key], kind) for key, kind in kinds.items())
        if is_right and values["form"] != _FORM:
            raise UserError(
                f"{path} has the form {values['form']}, which is of another version of this program: expected {_FORM}"
            )
        expected = {name: array_shape(name, values["vocab_size"], values["embedding_dim"]) for name in STATE_TABLES}
        sizes = {
            name: len(array_header(shape)) + _FLOAT_BYTES * int(np.prod(shape)) for name, shape in expected.items()
        }
        is_right &= all(values["files"][name]["bytes"] == size for name, size in sizes.items())
        is_right &= all(each.keys() == {"bytes", "crc32"} for each in values["files"].values())
        is_right &= STATE_VOCABULARY in values["files"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        is_right = False
    if not is_right:
        raise UserError(f"{path} is damaged, as values are missing or wrong: {_REPAIR}")
    result: dict[str, Any] = values
    return result


def _contents(path: str) -> bytes:
    with reading(path, _EXPECTED) as file:
        contents: bytes = file.read()
    return contents
