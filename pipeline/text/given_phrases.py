"""Phrases that are given with a vocabulary: --vocabulary DATASET brings those of the dataset along.

Without them, the joined words of that vocabulary could not occur in the new text.
"""

import os

import tensorflow as tf
from tensorflow.io import gfile

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import PHRASES_FILE
from pipeline.dataset.phrases import parse_phrases
from pipeline.dataset.read import read_manifest
from pipeline.errors import UserError
from pipeline.text.given_vocabulary import check_sum, write_copy


def read_given_phrases(config: PipelineConfig) -> bytes:
    """The phrases file of the given dataset; b"" if no dataset is given, or one without phrases.

    Raises:
        UserError: the dataset cannot be read or is damaged, or --phrases asks for phrases of the new text as well.
    """
    path = config.vocabulary
    if not path or not gfile.isdir(path):
        return b""
    manifest = read_manifest(path)
    if not manifest.phrases_sha256:
        return b""
    if config.phrases:
        raise UserError(
            f"--phrases {config.phrases}: expected no --phrases, because --vocabulary {path} brings the phrases of "
            "its dataset along"
        )
    try:
        with gfile.GFile(os.path.join(path, PHRASES_FILE), "rb") as file:
            data: bytes = file.read()
    except tf.errors.OpError as error:
        raise UserError(f"--vocabulary {path} is damaged: its {PHRASES_FILE} cannot be read") from error
    check_sum(path, PHRASES_FILE, data, "phrases_sha256", manifest.phrases_sha256)
    return data


def num_rounds(config: PipelineConfig) -> int:
    """The number of rounds in which words are joined: those of --phrases, or of the given phrases; 0 if there are none.

    Given phrases that are none need a round too, because their file belongs to the dataset.
    """
    given = read_given_phrases(config)
    return max((phrase.round for phrase in parse_phrases(given)), default=1) if given else config.phrases


def copy_given_phrases(config: PipelineConfig, directory: str) -> str:
    """Copies the given phrases, so that all steps use the same. Returns the path of the copy.

    Args:
        config: the settings, with the absolute path of the vocabulary.
        directory: a directory that all workers share.
    """
    return write_copy(os.path.join(directory, PHRASES_FILE), read_given_phrases(config))
