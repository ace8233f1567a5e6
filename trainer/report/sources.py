"""What the report is made of. All but metrics.json may be missing, and then the report says what is and why."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.dataset import fingerprint_of
from trainer.dataset_layout import FIRST_WORD_ID, MANIFEST_FILE, VOCABULARY_FILE, vocabulary_counts, vocabulary_tokens
from trainer.errors import UserError
from trainer.files import exists, read_file, size
from trainer.layout import LOGS_FOLDER, METRICS_FILE
from trainer.manifest import Manifest, parse_manifest
from trainer.report.curves import Curve, read_curves
from trainer.report.words import Words, open_words

_EXPECTED_METRICS = "the metrics that the trainer wrote"


@dataclass(frozen=True)
class Corpus:
    """The manifest of a dataset and its vocabulary, in falling order of the counts."""

    directory: str
    manifest: Manifest
    words: list[str]  # n words, without [PAD] and [UNK]
    counts: np.ndarray  # [n] int64


@dataclass(frozen=True)
class Sources:
    """All that the report is made of."""

    model: str  # the model directory
    metrics: Mapping[str, Any]  # the contents of metrics.json
    sizes: Mapping[str, int]  # in bytes, by the name of each exported file or folder
    corpus: Corpus | None
    no_corpus: str  # why there is no corpus
    words: Words | None
    no_words: str  # why there are no words
    curves: Mapping[str, Curve]  # from TensorBoard's files; x is the step
    no_curves: str  # why there are no curves


def open_sources(model: str, data: str = "", log_dir: str = "") -> Sources:
    """Reads what the report needs.

    Args:
        model: the model directory.
        data: the dataset directory, if it is not where the model's run had it.
        log_dir: TensorBoard's files, if they are neither where the run wrote them nor in the model directory.

    Raises:
        UserError: there is no complete model, or its metrics.json is damaged; or `data` is given but is not the
            dataset of the model.
    """
    metrics = read_metrics(model)
    config = metrics["config"]
    corpus, no_corpus = None, ""
    try:
        corpus = _open_corpus(data or str(config.get("data", "")), str(metrics.get("dataset", "")))
    except UserError as error:
        if data:
            raise UserError(f"--data {error}") from error
        no_corpus = str(error)
    words, no_words = None, ""
    try:
        words = open_words(model)
    except UserError as error:
        no_words = str(error)
    curves: dict[str, Curve] = {}
    no_curves = ""
    for folder in filter(None, (log_dir, config.get("log_dir"), os.path.join(model, LOGS_FOLDER))):
        try:
            curves = curves or read_curves(folder)
        except Exception as error:  # of many kinds, as the files may hold anything
            no_curves = f"The files of TensorBoard in {folder} cannot be read: {str(error).splitlines()[:1]}"
    sizes = {name: _size(os.path.join(model, name)) for name in metrics.get("exports", ())}
    no_curves = no_curves or "The run has no files of TensorBoard, so there is one point for each epoch."
    return Sources(model, metrics, sizes, corpus, no_corpus, words, no_words, curves, "" if curves else no_curves)


def read_metrics(model: str) -> dict[str, Any]:
    """The contents of metrics.json.

    Raises:
        UserError: it is not there, or is damaged.
    """
    path = os.path.join(model, METRICS_FILE)
    if not exists(path):
        raise UserError(f"{model} holds no {METRICS_FILE}: expected the --output of a training run that has finished")
    try:
        metrics = json.loads(read_file(path, _EXPECTED_METRICS))
        is_right = isinstance(metrics["config"], dict) and isinstance(metrics.get("exports", []), list)
        is_right &= all(isinstance(value, int | float) for value in metrics["loss"]) and bool(metrics["loss"])
        is_right &= isinstance(metrics["steps_per_epoch"], int)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        is_right = False
    if not is_right:
        raise UserError(f"{path} is damaged: expected {_EXPECTED_METRICS}; copy the model again, or train it again")
    result: dict[str, Any] = metrics
    return result


def _open_corpus(directory: str, fingerprint: str) -> Corpus:
    """Reads a manifest and a vocabulary.

    Raises:
        UserError: they are not there, are damaged, or are not those that the model was trained on.
    """
    path = os.path.join(directory, MANIFEST_FILE)
    if not exists(path):
        raise UserError(f"{directory} holds no dataset any more: expected its {MANIFEST_FILE}")
    text = read_file(path, "the manifest that the pipeline wrote")
    if fingerprint_of(text) != fingerprint:
        raise UserError(f"{directory} holds another dataset than the one that the model was trained on")
    manifest = parse_manifest(text, path)
    vocabulary = read_file(os.path.join(directory, VOCABULARY_FILE), "the vocabulary of a dataset")
    words = [token.decode(errors="replace") for token in vocabulary_tokens(vocabulary)][FIRST_WORD_ID:]
    counts = np.fromiter(vocabulary_counts(vocabulary), np.int64)[FIRST_WORD_ID:]
    order = np.argsort(-counts, kind="stable")
    return Corpus(directory, manifest, [words[row] for row in order], counts[order])


def _size(path: str) -> int:
    """The size of a file, or of all files in a folder, in bytes."""
    from tensorflow.io import gfile

    if not gfile.isdir(path):
        return size(path)
    return sum(size(os.path.join(folder, name)) for folder, _, names in gfile.walk(path) for name in names)
