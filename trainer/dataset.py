"""A dataset directory that is complete. The manifest tells the trainer all that it needs to know about the examples."""

import dataclasses
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
import tensorflow as tf
from tensorflow.io import gfile

from trainer.dataset_layout import (
    MANIFEST_FILE,
    PHRASES_FILE,
    TRANSFORM_FOLDER,
    VOCABULARY_FILE,
    damage_in_vocabulary,
    vocabulary_counts,
    vocabulary_tokens,
)
from trainer.errors import UserError
from trainer.formats import ExampleFormat, bytes_of, format_of
from trainer.manifest import HoldoutFile, Manifest, Shard, parse_manifest
from trainer.plain_path import decoded

REPAIR = "copy the dataset again, or run the pipeline again"
TARGETS_PER_BATCH = 2_048
# A GPU takes as long for 2,048 targets as for several times as many, as it takes longest to start its operations. With
# fewer steps than these in an epoch, the vectors get worse.
TARGETS_PER_BATCH_ON_GPU = (8_192, 4_096)
_FEWEST_STEPS_ON_GPU = 3_200
_BYTES_AT_ONCE = 1 << 20
_FILES_AT_ONCE = 32  # an object store takes its time for each file
_ID_BYTES = 4  # of an id, and of the length of a line, in the files of held-out lines
_LARGEST_RATIO = {"none": 1, "gzip": 1032}  # how much larger a file's contents can be, by compression
_GRAPH_FILE = f"{TRANSFORM_FOLDER}/saved_model.pb"
_GRAPH_VOCABULARY = f"{TRANSFORM_FOLDER}/assets/{VOCABULARY_FILE}"
_GRAPH_PHRASES = f"{TRANSFORM_FOLDER}/assets/{PHRASES_FILE}"

_State = tuple[int, int]  # of a file: its size in bytes, and the time of its last change in ns


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A complete dataset. `open_dataset` makes it."""

    directory: str
    manifest: Manifest
    fingerprint: str  # a hash of the manifest, by which a run recognizes its dataset
    _vocabulary: bytes = dataclasses.field(repr=False)  # the contents of vocabulary.tsv
    _states: dict[str, _State] = dataclasses.field(repr=False)  # by path in the directory, of all files that are used

    @property
    def vocab_size(self) -> int:
        """V, [PAD] and [UNK] included."""
        return self.manifest.vocab_size

    @cached_property
    def example_format(self) -> ExampleFormat:
        """The format of the examples: blocks or pairs, with their sizes and weights."""
        return format_of(self.manifest)

    @property
    def num_examples(self) -> int:
        """The number of examples (blocks or pairs) in all shards."""
        return sum(shard.examples for shard in self.manifest.shards)

    @property
    def words_per_epoch(self) -> int:
        """The number of corpus words, before subsampling, that one epoch goes through."""
        return self.manifest.num_words * self.manifest.passes

    @property
    def skip_grams_per_epoch(self) -> int:
        """The number of skip-grams in all shards."""
        return self.manifest.num_skip_grams

    @property
    def transform_fn(self) -> str:
        """The path of the SavedModel that turns text into ids."""
        return os.path.join(self.directory, TRANSFORM_FOLDER)

    @property
    def vocabulary_file(self) -> str:
        """The path of the vocabulary: a line `token<TAB>count` for each id."""
        return os.path.join(self.directory, VOCABULARY_FILE)

    def default_batch_size(self, on_gpu: bool) -> int:
        """How many examples a batch has unless the user says otherwise."""
        targets_per_example = self.example_format.targets_per_example
        for targets in TARGETS_PER_BATCH_ON_GPU if on_gpu else ():
            if self.num_examples * targets_per_example >= _FEWEST_STEPS_ON_GPU * targets:
                return max(1, targets // targets_per_example)
        return max(1, TARGETS_PER_BATCH // targets_per_example)

    def steps_per_epoch(self, batch_size: int) -> int:
        """The number of batches in an epoch. The last is filled up with empty examples."""
        return -(-self.num_examples // batch_size)

    @property
    def vocabulary(self) -> bytes:
        """The contents of vocabulary.tsv, as they were when the dataset was opened."""
        return self._vocabulary

    def words(self) -> list[str]:
        """The token of each id, [V], as it was when the dataset was opened."""
        return [token.decode() for token in vocabulary_tokens(self._vocabulary)]

    def counts(self) -> np.ndarray:
        """How often each id occurs in the text, [V] int64, as the vocabulary says."""
        return np.fromiter(vocabulary_counts(self._vocabulary), np.int64, self.vocab_size)

    def check_unchanged(self) -> None:
        """Looks whether the files are still those that were opened. It reads the manifest, but not the other files.

        Raises:
            UserError: another dataset has been put in place of this one, or a file has been changed or removed.
        """
        try:
            # The pipeline removes the manifest before it replaces anything else.
            text = read_bytes(os.path.join(self.directory, MANIFEST_FILE))
            states = _states(self.directory, list(self._states))
        except tf.errors.NotFoundError:
            raise self._replaced("a file of it is gone") from None
        if fingerprint_of(text) != self.fingerprint:
            raise self._replaced(f"its {MANIFEST_FILE} is another one now")
        for name, state in self._states.items():
            if states[name] != state:
                raise self._replaced(f"{name} has been changed")

    def _replaced(self, change: str) -> UserError:
        return UserError(
            f"--data {self.directory} was replaced while it was trained on: {change}; train again on the new dataset "
            "with --overwrite"
        )


def open_dataset(directory: str, flag: str = "--data") -> Dataset:
    """Reads the manifest and the vocabulary, and checks that all files exist and fit the manifest.

    Args:
        directory: the directory.
        flag: the flag that names it, for messages.

    Raises:
        UserError: the directory is not a complete dataset of a version that this trainer reads.
    """
    directory = decoded(directory)
    path = os.path.join(directory, MANIFEST_FILE)
    try:
        text = read_bytes(path)
    except tf.errors.NotFoundError as error:
        raise UserError(
            f"{flag} {directory} holds no {MANIFEST_FILE}: expected the --output of a pipeline run that has finished"
        ) from error
    except tf.errors.OpError as error:
        raise UserError(f"{path} cannot be read ({error.message}): expected a file that this user may read") from error
    manifest = parse_manifest(text, path)
    has_asset = gfile.exists(os.path.join(directory, _GRAPH_VOCABULARY))
    names = [VOCABULARY_FILE, _GRAPH_FILE, *([_GRAPH_VOCABULARY] if has_asset else [])]
    phrases_files = [_GRAPH_PHRASES, PHRASES_FILE] if manifest.phrases_sha256 else []
    names += phrases_files + [shard.name for shard in manifest.shards] + [file.name for file in manifest.holdout]
    try:
        states = _states(directory, names)
        vocabulary = read_bytes(os.path.join(directory, VOCABULARY_FILE))
        assets = [read_bytes(os.path.join(directory, _GRAPH_VOCABULARY))] if has_asset else []
        phrases = [read_bytes(os.path.join(directory, name)) for name in phrases_files]
    except tf.errors.NotFoundError as error:
        missing = next((name for name in names if name in error.message), "a file")
        raise UserError(f"{flag} {directory} is incomplete: {missing} is missing; {REPAIR}") from error
    except tf.errors.OpError as error:
        raise UserError(
            f"{flag} {directory} cannot be read ({error.message}): expected files that this user may read"
        ) from error
    damage = _damage_in_vocabulary(vocabulary, manifest)
    if not damage and any(asset != vocabulary for asset in assets):
        damage = f"{VOCABULARY_FILE} differs from {_GRAPH_VOCABULARY}, which should be the same file"
    damage = damage or _damage_in_phrases(dict(zip(phrases_files, phrases, strict=True)), manifest)
    damage = damage or _damage_in_sizes({name: size for name, (size, _) in states.items()}, manifest)
    if damage:
        raise UserError(f"{flag} {directory} is damaged: {damage}; {REPAIR}")
    return Dataset(directory, manifest, fingerprint_of(text), vocabulary, states)


def read_bytes(path: str) -> bytes:
    """The contents of a file, at any path that TensorFlow opens."""
    with gfile.GFile(path, "rb") as file:
        content: bytes = file.read()
    return content


def fingerprint_of(manifest_text: bytes) -> str:
    """A hash of the values in a manifest; of the text, if that is not JSON."""
    try:
        manifest_text = json.dumps(json.loads(manifest_text), sort_keys=True).encode()
    except (ValueError, RecursionError):
        pass
    return hashlib.sha256(manifest_text).hexdigest()[:16]


def _states(directory: str, names: list[str]) -> dict[str, _State]:
    """The states of files, many of which are looked up at once.

    Raises:
        tf.errors.OpError: a file cannot be looked up; the message holds its path.
    """

    def state(name: str) -> _State:
        found = gfile.stat(os.path.join(directory, name))
        return found.length, found.mtime_nsec

    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        return dict(zip(names, pool.map(state, names), strict=True))


def _damage_in_sizes(sizes: dict[str, int], manifest: Manifest) -> str | None:
    """What is wrong with the sizes of the TFRecord files, in bytes by name, or None."""
    bytes_per_example = sum(map(bytes_of, manifest.fields))
    contents: list[tuple[Shard | HoldoutFile, int, str]]
    contents = [(shard, shard.examples * bytes_per_example, f"{shard.examples} examples") for shard in manifest.shards]
    contents += [(file, (file.words + file.lines) * _ID_BYTES, f"{file.words} words") for file in manifest.holdout]
    for file, fewest_bytes, described in contents:
        size = sizes[file.name]
        if size != file.bytes:
            return f"{file.name} has {size} bytes instead of {file.bytes}"
        if fewest_bytes > size * _LARGEST_RATIO[manifest.compression]:
            return f"{file.name} has {size} bytes, which cannot hold the {described} of {MANIFEST_FILE}"
    return None


def _damage_in_phrases(contents: dict[str, bytes], manifest: Manifest) -> str | None:
    """What is wrong with the phrases file and the transform graph's copy of it, by name, or None."""
    for name, content in contents.items():
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != manifest.phrases_sha256:
            return (
                f"{name} has the SHA-256 {sha256}, but the phrases_sha256 of {MANIFEST_FILE} is "
                f"{manifest.phrases_sha256}"
            )
    return None


def _damage_in_vocabulary(vocabulary: bytes, manifest: Manifest) -> str | None:
    """What is wrong with the contents of the vocabulary file, or None."""
    num_lines, sha256 = vocabulary.count(b"\n"), hashlib.sha256(vocabulary).hexdigest()
    if num_lines != manifest.vocab_size:
        return (
            f"{VOCABULARY_FILE} has {num_lines} lines, but the vocab_size of {MANIFEST_FILE} is {manifest.vocab_size}"
        )
    if manifest.vocabulary_sha256 not in ("", sha256):  # versions 2 and 3 do not state it
        return (
            f"{VOCABULARY_FILE} has the SHA-256 {sha256}, but the vocabulary_sha256 of {MANIFEST_FILE} is "
            f"{manifest.vocabulary_sha256}"
        )
    return damage_in_vocabulary(vocabulary)
