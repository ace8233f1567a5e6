"""Opens a dataset: its manifest and its vocabulary, both checked."""

import dataclasses
import difflib
import hashlib
import os
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import FIRST_WORD_ID, MANIFEST_FILE, VOCABULARY_FILE
from pipeline.dataset.manifest import Manifest
from pipeline.dataset.read import read_manifest
from pipeline.errors import UserError

_MOST_LIKE = 5
_WORDS_COMPARED = 100_000  # the most frequent; comparing spellings takes a second for so many
# Settings that stand at the top of the manifest.
_AT_THE_TOP = ("example_format", "compression", "window_size", "num_negatives", "passes")


class OpenDataset(NamedTuple):
    """A dataset whose manifest and vocabulary have been read."""

    directory: str
    manifest: Manifest
    words: list[str]  # [V] the token of each id
    counts: np.ndarray  # [V] int64, how often the text has each; [UNK] counts all words out of the vocabulary

    def settings(self) -> dict[str, Any]:
        """The settings that stand at the top of the manifest."""
        return {name: getattr(self.manifest, name) for name in _AT_THE_TOP}

    def id_of(self, word: str) -> int:
        """The id of a word.

        Raises:
            UserError: it is not in the vocabulary; the message names words that are spelled like it.
        """
        if word not in self.words:
            near = self.like(word)
            raise UserError(
                f"--skip_grams {word} is not in the vocabulary of {self.directory}: expected a word of it"
                + (f", such as {' or '.join(near)}" if near else "")
            )
        return self.words.index(word)

    def like(self, word: str) -> tuple[str, ...]:
        """Known words that are spelled like a word that is not known; at most five, the most alike first."""
        # In capitals, or a phrase with spaces, or an item with spaces, which the pipeline joins.
        spellings = dict.fromkeys((word.lower(), "_".join(word.split()), "_".join(word.lower().split())))
        compared = self.words[FIRST_WORD_ID : FIRST_WORD_ID + _WORDS_COMPARED]
        near = difflib.get_close_matches(word.lower(), compared, _MOST_LIKE)
        return tuple(dict.fromkeys([*(each for each in spellings if each in self.words), *near]))[:_MOST_LIKE]

    def config(self) -> PipelineConfig:
        """The settings that the dataset was made with. Those that older pipelines did not have are the defaults.

        Raises:
            UserError: a setting in the manifest has a value that it cannot have.
        """
        names = {field.name for field in dataclasses.fields(PipelineConfig)}
        values = {name: value for name, value in self.manifest.config.items() if name in names} | self.settings()
        values.update(input=("-",), output=self.directory, holdout=0)  # these do not matter here
        try:
            return PipelineConfig(**values)
        except UserError as error:
            path = os.path.join(self.directory, MANIFEST_FILE)
            raise UserError(f"{path}: config is not as the pipeline writes it: {error}") from None


def open_dataset(directory: str) -> OpenDataset:
    """Reads the manifest and the vocabulary of a dataset.

    Raises:
        UserError: there is no complete dataset in the directory, or one of the two files is damaged.
    """
    manifest = read_manifest(directory)
    try:
        with tf.io.gfile.GFile(os.path.join(directory, VOCABULARY_FILE), "rb") as file:
            vocabulary: bytes = file.read()
    except tf.errors.OpError as error:
        raise UserError(f"{directory} is damaged: its {VOCABULARY_FILE} cannot be read") from error
    lines = vocabulary.split(b"\n")[:-1]
    if len(lines) != manifest.vocab_size:
        raise UserError(
            f"{directory} is damaged: {VOCABULARY_FILE} has {len(lines)} lines, but the vocab_size of "
            f"{MANIFEST_FILE} is {manifest.vocab_size}"
        )
    if manifest.vocabulary_sha256 not in ("", hashlib.sha256(vocabulary).hexdigest()):
        raise UserError(
            f"{directory} is damaged: {VOCABULARY_FILE} is not the file whose vocabulary_sha256 is in {MANIFEST_FILE}"
        )
    words, counts = [], np.zeros(len(lines), np.int64)
    for number, line in enumerate(lines, start=1):
        token, _, count = line.rpartition(b"\t")
        try:
            words.append(token.decode())
        except UnicodeDecodeError:
            token = b""
        if not token or not count.isdigit() or len(count) > 18:
            raise UserError(
                f"{directory} is damaged: line {number} of {VOCABULARY_FILE} is {line[:100]!r}: expected a token in "
                "UTF-8, a tab and a count"
            )
        counts[number - 1] = int(count)
    return OpenDataset(directory, manifest, words, counts)
