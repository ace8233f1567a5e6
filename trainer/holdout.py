"""The held-out lines of a dataset, which are in no example: a sample of them, or all."""

import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from trainer.dataset import REPAIR, Dataset
from trainer.errors import UserError
from trainer.next_item import Sessions

_FEATURES = ("ids", "lengths")


def read_holdout(dataset: Dataset, max_lines: int = 0, seed: int = 0) -> Sessions:
    """Reads held-out lines. The memory depends on the number of lines that are taken.

    Args:
        dataset: the dataset.
        max_lines: how many lines to take at most; which ones, depends on the seed alone. 0 takes all.
        seed: the seed of that choice.

    Returns:
        The lines, in the order of the files. Items are ids of the dataset's vocabulary; 1 is an unknown word.

    Raises:
        UserError: a file cannot be read, or does not hold what the manifest says.
    """
    num_lines = sum(file.lines for file in dataset.manifest.holdout)
    is_taken = np.ones(num_lines, bool)
    if 0 < max_lines < num_lines:
        is_taken[:] = False
        is_taken[np.random.default_rng(seed).choice(num_lines, max_lines, replace=False)] = True
    taken: list[Sessions] = []
    first = 0
    for file in dataset.manifest.holdout:
        num_words, start = 0, first
        try:
            for lines in _records(dataset, file.name):
                which = is_taken[first : first + len(lines.lengths)]
                if len(which) < len(lines.lengths):
                    break
                items = lines.items[np.repeat(which, lines.lengths)]
                taken.append(Sessions(items, lines.lengths[which].astype(np.int64)))
                first += len(lines.lengths)
                num_words += len(lines.items)
        except (tf.errors.OpError, ValueError, LookupError) as error:
            reason = getattr(error, "message", error)
            path = os.path.join(dataset.directory, file.name)
            raise UserError(f"{path} is damaged ({reason}); {REPAIR}") from error
        if (first - start, num_words) != (file.lines, file.words):
            raise UserError(
                f"{os.path.join(dataset.directory, file.name)} is damaged: expected {file.lines:,} lines with "
                f"{file.words:,} words, as the manifest says; {REPAIR}"
            )
    nothing = np.zeros(0, np.int64)
    return Sessions(
        np.concatenate([nothing, *(each.items for each in taken)]),
        np.concatenate([nothing, *(each.lengths for each in taken)]),
    )


def _records(dataset: Dataset, name: str) -> Iterator[Sessions]:
    """The lines of each record of a file.

    Raises:
        ValueError: a record is not as it should be.
    """
    compression = "GZIP" if dataset.manifest.compression == "gzip" else ""
    for record in tf.data.TFRecordDataset(os.path.join(dataset.directory, name), compression):
        features = tf.io.parse_single_example(
            record, {feature: tf.io.FixedLenFeature([], tf.string) for feature in _FEATURES}
        )
        ids, lengths = (np.frombuffer(features[feature].numpy(), "<i4") for feature in _FEATURES)
        if lengths.min(initial=1) < 1 or lengths.sum() != len(ids):
            raise ValueError("the lengths of its lines do not add up to its words")
        if len(ids) and not 1 <= ids.min() <= ids.max() < dataset.vocab_size:
            raise ValueError("it holds an id that is not in the vocabulary")
        yield Sessions(ids.astype(np.int64), lengths)
