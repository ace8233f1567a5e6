"""The checks of the dataset, the output directory and the memory, before a training run changes anything."""

import json
import os
from typing import Any

import tensorflow as tf
from tensorflow.io import gfile

from trainer import limits
from trainer.cluster import Process
from trainer.config import TrainerConfig
from trainer.dataset_layout import TRANSFORM_FOLDER
from trainer.errors import UserError, user_message
from trainer.layout import CHECKPOINTS_FOLDER, CONTENTS, METRICS_FILE, SETTINGS_FILE, TEMPORARY_SUFFIX
from trainer.lock import LOCK_FILE
from trainer.plain_path import plain_path

_BASE_BYTES = 600_000_000  # what Python and TensorFlow take, before there are tables
_BYTES_PER_WORD = 300  # of the vocabulary


def make_directory(directory: str, flag: str) -> None:
    """Makes a directory to write to, if it does not exist.

    Args:
        directory: its path.
        flag: the flag that names it, for messages.

    Raises:
        UserError: it cannot be a directory.
    """
    bucket = "/".join(directory.split("/")[:3]) + "/" if "://" in directory else ""
    try:
        if bucket and not gfile.exists(bucket):  # makedirs would look for the bucket without end
            raise UserError(f"{flag} {directory}: there is no {bucket}, expected a path in a bucket that exists")
        gfile.makedirs(directory)
        gfile.listdir(directory)
    except tf.errors.OpError as error:
        raise UserError(
            f"{flag} {directory} cannot be used ({error.message}): expected a directory that can be written to"
        ) from error


def check_output(config: TrainerConfig, directory: str, checkpoint_dir: str) -> bool:
    """Checks that nothing in the output directory is replaced unless config.overwrite is set.

    Args:
        config: the settings.
        directory: another path of config.output, which TensorFlow can use.
        checkpoint_dir: where the checkpoints are.

    Returns:
        Whether the directory holds a complete model that an earlier run has finished. This is only so with
        config.resume or config.overwrite.

    Raises:
        UserError: something in the directory would be lost.
    """
    output = config.output
    entries = {entry.rstrip("/") for entry in gfile.listdir(directory)}
    known = {*CONTENTS, LOCK_FILE}
    foreign = sorted(entry for entry in entries if entry not in known and TEMPORARY_SUFFIX not in entry)
    if foreign:
        raise UserError(
            f"--output {output} holds {foreign[0]}, which is not part of a model: expected a new or empty directory"
        )
    is_complete = METRICS_FILE in entries and not _is_interrupted(directory, checkpoint_dir)
    if is_complete and not (config.overwrite or config.resume):
        raise UserError(
            f"--output {output} already holds a model: name another directory, or add --overwrite to replace the model"
        )
    has_checkpoints = CHECKPOINTS_FOLDER in entries or gfile.exists(os.path.join(checkpoint_dir, SETTINGS_FILE))
    if not is_complete and has_checkpoints and not (config.overwrite or config.resume):
        raise UserError(
            f"--output {output} holds a run that was interrupted: "
            "add --resume to go on with it, or --overwrite to start anew"
        )
    return is_complete


def _is_interrupted(directory: str, checkpoint_dir: str) -> bool:
    """Whether there are checkpoints of a run that has not finished, beside the model of an earlier one.

    A run that finishes writes its id into the metrics before it removes its checkpoints.
    """
    settings = read_json(os.path.join(checkpoint_dir, SETTINGS_FILE))
    if settings is None:
        return False
    metrics = read_json(os.path.join(directory, METRICS_FILE)) or {}
    return settings.get("run") != metrics.get("run")


def remove_temporary(directory: str) -> None:
    """Removes what earlier runs were writing to the output directory when they were killed."""
    for entry in gfile.listdir(directory):
        if TEMPORARY_SUFFIX in entry:
            remove(os.path.join(directory, entry.rstrip("/")))


def remove(path: str) -> None:
    """Removes a file, or a folder with all that is in it, if it is there."""
    if gfile.isdir(path):
        gfile.rmtree(path)
    elif gfile.exists(path):
        gfile.remove(path)


def check_memory(config: TrainerConfig, vocab_size: int, process: Process | None = None) -> None:
    """Checks that this machine has the memory for the tables, or for the columns of all processes that run on it.

    Args:
        config: the settings.
        vocab_size: V.
        process: this process, if several train together.

    Raises:
        UserError: it has not; the message says how much is needed.
    """
    size, size_here = (process.size, process.size_here) if process else (1, 1)
    # Adam has two moments and a gradient for each table. After the export, the chief loads the vectors to check them.
    tables = 0 if tf.config.list_physical_devices("GPU") else 8 if config.optimizer == "adam" else 2
    tables_here = max(1.0, tables * size_here / size)
    needed = size_here * (_BASE_BYTES + vocab_size * _BYTES_PER_WORD)
    limits.check_memory(
        needed + int(vocab_size * tables_here * config.embedding_dim * 4),
        f"--embedding_dim {config.embedding_dim} with {vocab_size:,} words",
        "lower it, divide the vectors among several machines (TF_CONFIG), or make a dataset with a smaller vocabulary "
        "(the pipeline's --vocab_size or --min_count)",
    )


def check_graph(data: str) -> None:
    """Checks that the transform graph of a dataset can be loaded, which the export needs after all of the training.

    Args:
        data: the dataset directory.

    Raises:
        UserError: it is damaged.
    """
    try:
        with plain_path(data) as directory:
            tf.saved_model.load(os.path.join(directory, TRANSFORM_FOLDER))
    except Exception as error:  # of many kinds, as the damage may be anywhere
        if user_message(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"--data {data} is damaged: {TRANSFORM_FOLDER} cannot be loaded ({reason}); copy the dataset again, or run "
            "the pipeline again"
        ) from error


def read_json(path: str) -> dict[str, Any] | None:
    """The object that a JSON file holds, or None if there is no such file or it is damaged."""
    try:
        with gfile.GFile(path, "rb") as file:
            values = json.loads(file.read())
    except (tf.errors.OpError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def write_json(path: str, values: dict[str, Any]) -> None:
    """Writes a JSON file, which appears at its place only when it is complete."""
    with gfile.GFile(path + TEMPORARY_SUFFIX, "w") as file:
        file.write(json.dumps(values, indent=1) + "\n")
    gfile.rename(path + TEMPORARY_SUFFIX, path, overwrite=True)
