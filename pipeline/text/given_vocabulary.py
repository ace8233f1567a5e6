"""A vocabulary that is given by --vocabulary: its words keep their ids, whatever the text holds.

It is the directory of a dataset, or a file of one word a line. A count may stand behind the word, after a tab or a
space, as in vocabulary.tsv and in the files that word2vec.c and gensim write. The counts are not used, because those of
the new dataset are of its own text.
"""

import hashlib
import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace

import tensorflow as tf
from tensorflow.io import gfile

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import FIRST_WORD_ID, RESERVED_TOKENS, VOCABULARY_FILE
from pipeline.dataset.manifest import Manifest
from pipeline.dataset.read import read_manifest
from pipeline.errors import UserError

GIVEN_FILE = "given_vocabulary.txt"  # the words of the given vocabulary during a run, one a line, from FIRST_WORD_ID on
_RESERVED = tuple(token.encode() for token in RESERVED_TOKENS)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_END_OF_LINE = b"</s>"  # word2vec.c's first word, which stands for the ends of lines


def read_given(config: PipelineConfig) -> list[bytes]:
    """The words of the given vocabulary. The word of index i has the id FIRST_WORD_ID + i.

    Args:
        config: the settings; config.vocabulary names the dataset or the file.

    Raises:
        UserError: the vocabulary cannot be read, is damaged, is of another tokenizer, or is larger than --vocab_size.
    """
    path = config.vocabulary
    try:
        manifest = read_manifest(path) if gfile.isdir(path) else None
        with gfile.GFile(os.path.join(path, VOCABULARY_FILE) if manifest else path, "rb") as file:
            data: bytes = file.read()
    except tf.errors.OpError as error:
        raise UserError(
            f"--vocabulary {path} cannot be read ({error.message.partition(chr(10))[0]}): expected the directory of a "
            "dataset, or a file of words"
        ) from error
    if manifest:
        _check_dataset(manifest, data, config)
    words = parse(data, path)
    if config.vocab_size and FIRST_WORD_ID + len(words) > config.vocab_size:
        raise UserError(
            f"--vocabulary {path} has {len(words):,} words: expected a --vocab_size of at least "
            f"{FIRST_WORD_ID + len(words)} instead of {config.vocab_size}, or 0 for no limit"
        )
    return words


def _check_dataset(manifest: Manifest, vocabulary: bytes, config: PipelineConfig) -> None:
    """Raises UserError if the dataset was made with another tokenizer, or has another vocabulary than it says."""
    if manifest.vocabulary_sha256:
        check_sum(config.vocabulary, VOCABULARY_FILE, vocabulary, "vocabulary_sha256", manifest.vocabulary_sha256)
    tokenizer = manifest.config.get("tokenizer")
    if tokenizer != config.tokenizer:
        raise UserError(
            f"--vocabulary {config.vocabulary} was made with --tokenizer {tokenizer}, and --tokenizer is "
            f"{config.tokenizer}: expected the same, so that the words are found in the text"
        )


def check_sum(directory: str, name: str, data: bytes, field: str, expected: str) -> None:
    """Raises UserError if a file of the given dataset is not the one whose SHA-256 is in its manifest.

    Args:
        directory: the directory of the dataset.
        name: the name of the file.
        data: the contents of the file.
        field: the field of the manifest that has the file's SHA-256.
        expected: the value of that field.
    """
    if hashlib.sha256(data).hexdigest() != expected:
        raise UserError(
            f"--vocabulary {directory} is damaged: {name} is not the file whose {field} is in its manifest: expected "
            "the dataset as the pipeline wrote it"
        )


def parse(data: bytes, path: str) -> list[bytes]:
    """The words of a vocabulary file, in its order.

    [PAD] and [UNK] at its beginning are left out, and so is word2vec.c's </s>.

    Args:
        data: the contents of the file.
        path: of the file, for messages.

    Raises:
        UserError: the file is not UTF-8, has no word or one twice, or has a line that is not a word and its count.
    """

    def fail(line: int, complaint: str) -> UserError:
        return UserError(f"--vocabulary {path}, line {line:,}: {complaint}")

    data = data.removeprefix(_BYTE_ORDER_MARK)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise fail(1 + data.count(b"\n", 0, error.start), "expected UTF-8") from None
    words = [_word(line) for line in data.rstrip().split(b"\n")] if data.strip() else []
    first = len(_RESERVED) if tuple(words[: len(_RESERVED)]) == _RESERVED else 0
    first += words[first : first + 1] == [_END_OF_LINE]
    seen: dict[bytes, int] = {}
    for number, word in enumerate(words[first:], first + 1):
        if len(word.split()) != 1:
            raise fail(number, f"{word[:99].decode(errors='replace')!r} is not a word, or a word and its count")
        if word in _RESERVED:
            raise fail(number, f"{word.decode()} is no word: expected it in the first lines, or not at all")
        if seen.setdefault(word, number) != number:
            raise fail(number, f"{word.decode()!r} is also the word of line {seen[word]:,}: expected each word once")
    if not seen:
        raise UserError(f"--vocabulary {path} has no word: expected one on each line")
    return list(seen)


def _word(line: bytes) -> bytes:
    """The line without its count and the white space around."""
    line = line.strip()
    for separator in (b"\t", b" "):
        word, found, count = line.rpartition(separator)
        if found and count.isdigit():
            return word
    return line


def absolute(path: str) -> str:
    """The path of a vocabulary for workers, which may run in another working directory."""
    return path if "://" in path else os.path.abspath(path)


def copy_given(path: str, config: PipelineConfig, directory: str) -> str:
    """Copies the words of the given vocabulary, so that all steps use the same words. Returns the path of the copy.

    Args:
        path: the absolute path of the vocabulary.
        config: the settings.
        directory: a directory that all workers share.

    Raises:
        UserError: as read_given does.
    """
    words = read_given(replace(config, vocabulary=path))
    return write_copy(os.path.join(directory, GIVEN_FILE), b"\n".join(words))


def write_copy(path: str, data: bytes) -> str:
    """Writes a file, and returns its path.

    The file gets its name only when it is complete, because Beam may do this step again while a worker reads the file.
    """
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    gfile.makedirs(os.path.dirname(path))
    with gfile.GFile(temporary, "wb") as file:
        file.write(data)
    gfile.rename(temporary, path, overwrite=True)
    return path


def copied(path: str) -> list[bytes]:
    """The words of the copy at that path, in the order of their ids."""
    with gfile.GFile(path, "rb") as file:
        return file.read().split(b"\n")


def drift(counts: Sequence[int], num_given: int) -> dict[str, int]:
    """What has changed since the vocabulary was made, by counter name.

    Args:
        counts: [V] how often the text has the word of each id.
        num_given: the number of given words.
    """
    first_new = FIRST_WORD_ID + num_given
    return {
        "vocabulary_given": num_given,
        "vocabulary_gone": _zeros(counts[FIRST_WORD_ID:first_new]),
        "vocabulary_new": len(counts) - first_new,
        "words_new": sum(counts[first_new:]),
    }


def _zeros(counts: Iterable[int]) -> int:
    return sum(count == 0 for count in counts)
