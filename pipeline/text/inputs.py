"""Which files are read: those that match --input's patterns, and what each was like when it was found."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import apache_beam as beam
from apache_beam.io.filesystem import FileMetadata, FileSystem
from apache_beam.io.filesystems import FileSystems

from pipeline import worker  # noqa: F401 - it prepares each worker, and each worker loads this module
from pipeline.dataset.layout import (
    MANIFEST_FILE,
    TRANSFORM_FOLDER,
    VOCABULARY_FILE,
    holdout_name,
    partial_folder,
    shard_name,
)
from pipeline.errors import UserError

# Files that a dataset has; shards and files of held-out lines have other names if they are compressed.
_DATASET_FILES = (
    MANIFEST_FILE,
    VOCABULARY_FILE,
    f"{TRANSFORM_FOLDER}/saved_model.pb",
    f"{TRANSFORM_FOLDER}/assets/{VOCABULARY_FILE}",
    shard_name(0, 1, "none"),
    shard_name(0, 1, "gzip"),
    holdout_name(0, 1, "none"),
    holdout_name(0, 1, "gzip"),
)


class FoundFile(NamedTuple):
    """A file as it was when it was found."""

    path: str
    size: int  # in bytes
    modified: float  # when it was last modified, in seconds since 1970; an object store changes it with each generation


def input_root(patterns: Iterable[str]) -> str:
    """The longest directory, with a slash at its end, that all patterns begin with; '' if there is none."""
    common = os.path.commonprefix([_split(pattern)[0] for pattern in patterns])
    return common[: common.rfind("/") + 1]


def _split(pattern: str) -> tuple[str, str]:
    """The directory, with a slash at its end, that a pattern begins with, and the rest of the pattern.

    A character in brackets, as `_escaped` makes it, stands for itself.
    """
    found = re.match(r"(?:\[\\?[*?\[]\]|[^*?\[{])*", pattern)
    assert found is not None  # it matches the empty string, too
    end = found.group().rfind("/") + 1
    return re.sub(r"\[\\?([*?\[])\]", r"\1", pattern[:end]), pattern[end:]


def as_pattern(path: str) -> str:
    """The pattern that matches what the user means by `path`.

    Each local file gets one spelling, so that no file is read twice. Brackets stand for themselves in the name of a
    file or directory that is there, else for a choice of characters.
    """
    if "://" in path:
        return path
    path = os.path.abspath(path)
    if os.path.isfile(path):
        return _escaped(path)
    there = os.path.dirname(path)
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    return os.path.join(_escaped(there), os.path.relpath(path, there))


def _escaped(path: str) -> str:
    """The pattern that matches this path alone."""
    # Beam makes a regular expression of a pattern. In one, Python warns of [[], but not of the same with a backslash.
    return glob.escape(path).replace("[[]", r"[\[]")


def check_inputs(patterns: Iterable[str]) -> None:
    """Raises UserError unless every pattern matches a file."""
    for pattern in patterns:
        if os.path.isdir(pattern):
            raise UserError(f"--input {pattern} is a directory: expected files, such as '{pattern.rstrip('/')}/*'")
        try:
            found = FileSystems.match([as_pattern(pattern)], limits=[1])[0].metadata_list
        except Exception as error:
            raise UserError(f"--input {pattern} cannot be read: {error}") from error
        if not found:
            raise UserError(f"--input {pattern} matches no file")


def reads_output(patterns: Sequence[str], output: str) -> str | None:
    """The first pattern that matches a file of a dataset in `output`, even if the dataset does not exist yet.

    Args:
        patterns: --input's, as the user spells them.
        output: the directory of the dataset.

    Returns:
        The pattern, or None if none of them reads the output.
    """
    output = output.rstrip("/") if "://" in output else os.path.realpath(output)
    written = [f"{folder}/{file}" for folder in (output, partial_folder(output, "run")) for file in _DATASET_FILES]
    for pattern in patterns:
        spelled = as_pattern(pattern)
        if "://" not in spelled:  # a directory may be reached by a symbolic link
            root, rest = _split(spelled)
            spelled = os.path.join(_escaped(os.path.realpath(root)), rest)
        elif spelled.endswith("/"):  # Beam takes this for all files of a folder
            spelled += "*"
        matches = re.compile(FileSystem.translate_pattern(spelled)).match
        if any(map(matches, written)):
            return pattern
    return None


def find_files(patterns: Iterable[str]) -> Iterator[FoundFile]:
    """Finds the files that match one of the patterns. A file that matches several is found once.

    Args:
        patterns: from as_pattern.

    Raises:
        UserError: a file's name is not UTF-8.
    """
    seen = set()
    for pattern in patterns:
        for file in FileSystems.match([pattern])[0].metadata_list:
            if file.path not in seen:
                seen.add(file.path)
                yield _found_file(file)


def _found_file(file: FileMetadata) -> FoundFile:
    try:
        file.path.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"--input {file.path!a}: expected a file name in UTF-8") from error
    return FoundFile(file.path, file.size_in_bytes, file.last_updated_in_seconds)


def changed_file(before: Iterable[FoundFile], patterns: Iterable[str]) -> str | None:
    """Looks for a file that is not what it was. A file that has come since then does no harm, since nobody read it.

    Args:
        before: the files as they were found before they were read.
        patterns: from as_pattern; those with which the files were found.

    Returns:
        One line that names a file that has changed or is gone, or None if there is none.
    """
    now = {file.path: file for file in find_files(patterns)}
    changed = [file for file in before if now.get(file.path) != file]
    if not changed:
        return None
    old = min(changed)
    new = now.get(old.path)
    what = (
        f"has changed while it was read ({_state(old)}, now {_state(new)})" if new else "was removed while it was read"
    )
    return f"--input {old.path} {what}: expected files that stay as they are; run again"


def _state(file: FoundFile) -> str:
    time = datetime.fromtimestamp(file.modified, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")
    return f"{file.size:,} bytes of {time} UTC"


class FindFiles(beam.PTransform):
    """Finds the files that match one of the patterns. A file that matches several is taken once.

    Args:
        patterns: --input's, as the user spells them.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        super().__init__()
        self._patterns = tuple(map(as_pattern, patterns))

    def expand(self, start: beam.pvalue.PBegin) -> beam.PCollection[FoundFile]:
        # One worker matches all patterns, which takes it 10 microseconds for a file on a local disk.
        return (
            start
            | "Patterns" >> beam.Create([self._patterns])  # (str, ..)
            | "Match" >> beam.FlatMap(find_files)  # FoundFile
        )
