"""The manifest: what a dataset says about itself, typed and checked.

The pipeline writes manifest.json and the trainer reads it. The two packages share no code, so each has a copy of this
module; a test keeps the copies equal. README's section "The dataset" describes the file for other readers.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainer.checked_json import LARGEST, Reader
from trainer.errors import UserError

VERSION = 5
READABLE_VERSIONS = (2, 3, 4, 5)

# Settings and counts that stand at the top of the manifest. Version 2 repeats them among `config` and `counters`.
_SETTINGS_AT_THE_TOP = ("example_format", "compression", "window_size", "num_negatives", "passes")
_COUNTS_AT_THE_TOP = {
    "lines_read": "num_lines",
    "words_read": "num_words",
    "tokens_kept": "num_tokens",
    "skip_grams": "num_skip_grams",
}
# Name, dtype and number of axes of each field of an example, by example format.
_FIELDS = {
    "blocks": [("tokens", "int32", 1), ("left", "uint8", 1), ("right", "uint8", 1), ("negatives", "int32", 1)],
    "pairs": [("target", "int32", 0), ("context", "int32", 1)],
}
_OTHER_FILES = ("manifest.json", "vocabulary.tsv", "transform_fn")  # what is in a dataset besides the shards


@dataclass(frozen=True)
class Field:
    """One array of an example. A record holds it for k examples, as k x shape little-endian numbers."""

    name: str
    dtype: str  # int32 or uint8
    shape: tuple[int, ...]  # of one example; () is a single number


@dataclass(frozen=True)
class Shard:
    """One TFRecord file."""

    name: str  # path relative to the dataset directory, with "/" between its parts
    bytes: int  # size of the file
    records: int  # tf.train.Example messages in it
    examples: int  # blocks or pairs in these records
    skip_grams: int  # skip-grams in these examples


@dataclass(frozen=True)
class HoldoutFile:
    """One TFRecord file of held-out lines, which are in no example."""

    name: str  # path relative to the dataset directory, with "/" between its parts
    bytes: int  # size of the file
    records: int  # tf.train.Example messages in it
    lines: int  # lines in these records, each with at least one word
    words: int  # words in these lines


@dataclass(frozen=True)
class Manifest:
    """A dataset's description of itself. Each value stands in it once; all numbers are of the whole dataset."""

    example_format: str  # blocks or pairs
    fields: tuple[Field, ...]  # the arrays of an example
    compression: str  # of the shards: none or gzip
    window_size: int  # the largest distance between a target and a context word, in words
    context_weights: tuple[float, ...]  # blocks: what a skip-gram counts by its distance 1..window_size; pairs: ()
    num_negatives: int  # negative samples per skip-gram; for blocks, in expectation
    passes: int  # how often the pipeline went through the corpus, with new random draws each time
    vocab_size: int  # ids, [PAD] and [UNK] included: the lines of vocabulary.tsv
    vocabulary_sha256: str  # the SHA-256 of vocabulary.tsv as 64 hex digits; "" if version 2 or 3 does not state it
    phrases_sha256: str  # the SHA-256 of phrases.tsv; "" if no words are joined, as in versions 2 to 4
    num_lines: int  # lines of the corpus, held-out lines left out
    num_words: int  # words in these lines, before any was dropped
    num_tokens: int  # words left after subsampling, in all passes
    num_skip_grams: int  # skip-grams in all shards
    counters: Mapping[str, int]  # what else was counted on the way: words dropped and text mended, by reason
    config: Mapping[str, Any]  # the pipeline's other flags
    shards: tuple[Shard, ...]
    holdout: tuple[HoldoutFile, ...]  # empty if no line is held out; versions 2 to 4 do not have it


def parse_manifest(text: str | bytes, path: str) -> Manifest:
    """Reads and checks the text of a manifest.

    Args:
        text: the JSON.
        path: where it was found, for messages.

    Raises:
        UserError: a field is missing, has a wrong type or value, or contradicts another. The message names the file,
            the field, its value, and what would be right.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): expected the manifest that the pipeline wrote") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a JSON object: expected the manifest that the pipeline wrote")
    reader = Reader(path, values)
    version = reader.whole_number("version", 0)
    if version not in READABLE_VERSIONS:
        raise UserError(f"{path} has version {version}: this program reads versions 2, 3, 4 and 5")
    example_format = reader.choice("example_format", tuple(_FIELDS))
    manifest = Manifest(
        example_format=example_format,
        fields=tuple(_field(item) for item in reader.objects("fields")),
        compression=reader.choice("compression", ("none", "gzip")),
        window_size=reader.whole_number("window_size", 1, 255),
        # Version 2 leaves this out for pairs.
        context_weights=() if (version, example_format) == (2, "pairs") else reader.weights("context_weights"),
        num_negatives=reader.whole_number("num_negatives", 1, 2**31 - 1),
        passes=reader.whole_number("passes", 1),
        vocab_size=reader.whole_number("vocab_size", 3, 2**31 - 1),
        vocabulary_sha256=reader.sha256("vocabulary_sha256") if version >= 4 else "",
        phrases_sha256=reader.sha256("phrases_sha256", may_lack=True) if version >= 5 else "",
        num_lines=reader.whole_number("num_lines", 1),
        num_words=reader.whole_number("num_words", 1),
        num_tokens=reader.whole_number("num_tokens", 1),
        num_skip_grams=reader.whole_number("num_skip_grams", 1),
        counters=reader.counts("counters"),
        config=reader.mapping("config"),
        shards=tuple(_shard(item) for item in reader.objects("shards")),
        holdout=tuple(_holdout_file(item) for item in reader.objects("holdout", 0)) if version >= 5 else (),
    )
    manifest = _without_copies(manifest, path)
    _check_fields(manifest, path)
    _check_sums(manifest, path)
    return manifest


def manifest_text(manifest: Manifest) -> str:
    """The text of manifest.json."""

    def plain(value: Any) -> Any:
        if isinstance(value, Field | Shard | HoldoutFile):
            return vars(value)
        return value

    return json.dumps({"version": VERSION, **vars(manifest)}, indent=1, default=plain) + "\n"


def _field(reader: Reader) -> Field:
    return Field(reader.text("name"), reader.choice("dtype", ("int32", "uint8")), reader.whole_numbers("shape"))


def _file_name(reader: Reader) -> str:
    name = reader.text("name")
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in name or parts[0] in _OTHER_FILES or len(parts) < 2:
        raise reader.fail("name", "a path inside the dataset directory, such as skipgrams/skipgrams-00000-of-00016")
    return name


def _shard(reader: Reader) -> Shard:
    numbers = (reader.whole_number(number) for number in ("bytes", "records", "examples", "skip_grams"))
    shard = Shard(_file_name(reader), *numbers)
    if shard.examples < shard.records or (shard.examples > 0) != (shard.records > 0):
        raise reader.fail("examples", f"at least one example for each of its {shard.records} records, and none without")
    if shard.skip_grams and not shard.examples:
        raise reader.fail("skip_grams", "0, as there are no examples")
    return shard


def _holdout_file(reader: Reader) -> HoldoutFile:
    numbers = (reader.whole_number(number) for number in ("bytes", "records", "lines", "words"))
    file = HoldoutFile(_file_name(reader), *numbers)
    if file.lines < file.records or (file.lines > 0) != (file.records > 0):
        raise reader.fail("lines", f"at least one line for each of its {file.records} records, and none without")
    if file.words < file.lines or (file.words > 0) != (file.lines > 0):
        raise reader.fail("words", f"at least one word for each of its {file.lines} lines, and none without")
    return file


def _without_copies(manifest: Manifest, path: str) -> Manifest:
    """Compares what version 2 states twice, and drops the second statement."""
    copies_by_group = {"config": {name: name for name in _SETTINGS_AT_THE_TOP}, "counters": _COUNTS_AT_THE_TOP}
    rest: dict[str, Any] = {}
    for group, copies in copies_by_group.items():
        values = getattr(manifest, group)
        for copy, name in copies.items():
            value = getattr(manifest, name)
            if copy in values and values[copy] != value:
                raise UserError(
                    f"{path}: {name} is {value!r}, but {group}.{copy} is {reprlib.repr(values[copy])}: expected the "
                    "same value"
                )
        rest[group] = {name: value for name, value in values.items() if name not in copies}
    return replace(manifest, **rest)


def _check_fields(manifest: Manifest, path: str) -> None:
    """Compares the fields with the example format, and their sizes with the settings."""
    found = [(field.name, field.dtype, len(field.shape)) for field in manifest.fields]
    expected = _FIELDS[manifest.example_format]
    if found != expected:
        names = ", ".join(f"{name} ({dtype}, {axes} axes)" for name, dtype, axes in expected)
        raise UserError(
            f"{path}: fields are {', '.join(reprlib.repr(name) for name, _, _ in found[:9])}: expected the fields of "
            f"{manifest.example_format}, which are {names}"
        )
    sizes = {field.name: field.shape[0] for field in manifest.fields if field.shape}
    if manifest.example_format == "pairs":
        rules, num_weights = {"context": 1 + manifest.num_negatives}, 0
    else:
        rules = {"tokens": sizes["left"] + 2 * manifest.window_size, "right": sizes["left"]}
        num_weights = manifest.window_size
    if len(manifest.context_weights) != num_weights:
        raise UserError(
            f"{path}: context_weights has {len(manifest.context_weights)} numbers: expected {num_weights}, by the "
            f"window_size {manifest.window_size} and the example_format {manifest.example_format}"
        )
    for name, size in rules.items():
        if sizes[name] != size:
            raise UserError(
                f"{path}: the field {name} has the shape [{sizes[name]}]: expected [{size}], by window_size "
                f"{manifest.window_size}, num_negatives {manifest.num_negatives} and the other fields"
            )


def _check_sums(manifest: Manifest, path: str) -> None:
    """Compares the shards with one another and with the numbers of the whole dataset."""

    def expect(is_right: bool, message: str) -> None:
        if not is_right:
            raise UserError(f"{path}: {message}")

    names: set[str] = set()
    most = 1  # skip-grams in an example
    if manifest.example_format == "blocks":
        most = 2 * manifest.window_size * sum(field.shape[0] for field in manifest.fields if field.name == "left")
    for shard in manifest.shards:
        expect(shard.name not in names, f"shards names {shard.name} twice: expected each file once")
        expect(
            manifest.example_format == "blocks" or shard.examples == shard.skip_grams,
            f"{shard.name} has {shard.examples} pairs and {shard.skip_grams} skip_grams: expected the same number",
        )
        expect(
            shard.skip_grams <= shard.examples * most,
            f"{shard.name} has {shard.skip_grams} skip_grams: expected at most {most} for each of its "
            f"{shard.examples} examples",
        )
        names.add(shard.name)
    for file in manifest.holdout:
        expect(file.name not in names, f"shards and holdout name {file.name} twice: expected each file once")
        names.add(file.name)
    total = sum(shard.skip_grams for shard in manifest.shards)
    expect(
        total == manifest.num_skip_grams,
        f"num_skip_grams is {manifest.num_skip_grams}, but the skip_grams of the shards add up to {total}: expected "
        "the same number",
    )
    expect(
        manifest.num_words * manifest.passes <= LARGEST,
        f"num_words is {manifest.num_words} and passes is {manifest.passes}: expected a product of {LARGEST} or less",
    )
    expect(
        manifest.num_tokens <= manifest.num_words * manifest.passes,
        f"num_tokens is {manifest.num_tokens}: expected no more than num_words {manifest.num_words} times passes "
        f"{manifest.passes}",
    )
    expect(
        manifest.num_skip_grams <= manifest.num_tokens * 2 * manifest.window_size,
        f"num_skip_grams is {manifest.num_skip_grams}: expected no more than num_tokens {manifest.num_tokens} times "
        f"twice the window_size {manifest.window_size}",
    )
