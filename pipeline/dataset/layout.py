"""What stands where in a dataset directory, and which ids are no words: the part of the contract that never varies."""

import os

MANIFEST_FILE = "manifest.json"  # a directory without it is no dataset; it is written last
VOCABULARY_FILE = "vocabulary.tsv"  # a line `token<TAB>count` for each id, from 0
PHRASES_FILE = "phrases.tsv"  # a line for each phrase; only in a dataset whose text is joined into phrases
TRANSFORM_FOLDER = "transform_fn"  # a SavedModel that turns lines of text into ids
SHARDS_FOLDER = "skipgrams"  # the TFRecord files
HOLDOUT_FOLDER = "holdout"  # the TFRecord files of held-out lines, if there are any
CONTENTS = (MANIFEST_FILE, VOCABULARY_FILE, PHRASES_FILE, TRANSFORM_FOLDER, SHARDS_FOLDER, HOLDOUT_FOLDER)

# The names of the transform graph's input and output.
TEXT = "text"
IDS = "ids"

# Ids that no word has; the order is that of keras.layers.TextVectorization.
RESERVED_TOKENS = ("[PAD]", "[UNK]")
UNK_ID = 1
FIRST_WORD_ID = len(RESERVED_TOKENS)

PARTIAL_PREFIX = ".partial-"


def partial_folder(output: str, run: str) -> str:
    """Where the run of that name writes until its dataset is complete."""
    return os.path.join(output, PARTIAL_PREFIX + run)


def shard_name(number: int, num_shards: int, compression: str) -> str:
    """The path of a shard, relative to the dataset directory."""
    return _file_name(SHARDS_FOLDER, "skipgrams", number, num_shards, compression)


def holdout_name(number: int, num_shards: int, compression: str) -> str:
    """The path of the file of the lines that are held out of a shard, relative to the dataset directory."""
    return _file_name(HOLDOUT_FOLDER, "holdout", number, num_shards, compression)


def _file_name(folder: str, kind: str, number: int, total: int, compression: str) -> str:
    suffix = ".gz" if compression == "gzip" else ""
    return f"{folder}/{kind}-{number:05d}-of-{total:05d}.tfrecord{suffix}"
