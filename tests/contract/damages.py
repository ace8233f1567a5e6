"""Manifests that are damaged or foreign, and what both readers must say about each."""

import json
from collections.abc import Callable
from typing import Any

Values = dict[str, Any]


def _set(*path: str | int, value: Any) -> Callable[[Values], None]:
    """Puts a value in the place that `path` names."""

    def change(values: Values) -> None:
        place: Any = values
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


def _remove(*path: str | int) -> Callable[[Values], None]:
    """Removes what stands in the place that `path` names."""

    def change(values: Values) -> None:
        place: Any = values
        for part in path[:-1]:
            place = place[part]
        del place[path[-1]]

    return change


def _duplicate_shard(values: Values) -> None:
    values["shards"].append(dict(values["shards"][-1]))


def _drop_shard(values: Values) -> None:
    values["shards"] = [shard for shard in values["shards"] if not shard["skip_grams"]] or [
        {**values["shards"][0], "skip_grams": 1}
    ]


def _hold_out(**wrong: Any) -> Callable[[Values], None]:
    """Puts a file of held-out lines into the manifest, with some values replaced."""
    file = {"name": "holdout/holdout-00000-of-00001.tfrecord", "bytes": 99, "records": 1, "lines": 2, "words": 9}
    return _set("holdout", value=[{**file, **wrong}])


# What is damaged -> (the change, a regular expression for the message, the example formats that it applies to).
BOTH = ("blocks", "pairs")
DAMAGES: dict[str, tuple[Callable[[Values], None], str, tuple[str, ...]]] = {
    "no version": (_remove("version"), "version is missing: expected a whole number", BOTH),
    "a later version": (_set("version", value=6), "has version 6: this program reads versions 2, 3, 4 and 5", BOTH),
    "an earlier version": (_set("version", value=1), "has version 1: this program reads versions 2, 3, 4 and 5", BOTH),
    "version as text": (_set("version", value="4"), "version is '4': expected a whole number", BOTH),
    "version as a fraction": (_set("version", value=2.0), "version is 2.0: expected a whole number", BOTH),
    "no example_format": (_remove("example_format"), "example_format is missing: expected blocks or pairs", BOTH),
    "foreign example_format": (
        _set("example_format", value="cbow"), "example_format is 'cbow': expected blocks or pairs", BOTH,
    ),
    "no fields": (_remove("fields"), "fields is missing: expected a list of JSON objects", BOTH),
    "fields of another type": (_set("fields", value="tokens"), "fields is 'tokens': expected a list", BOTH),
    "a field without dtype": (
        _remove("fields", 1, "dtype"), r"fields\[1\]\.dtype is missing: expected int32 or uint8", BOTH,
    ),
    "a field of another dtype": (
        _set("fields", 0, "dtype", value="float32"), r"fields\[0\]\.dtype is 'float32': expected int32 or uint8", BOTH,
    ),
    "a field with a wrong dtype": (
        _set("fields", 0, "dtype", value="uint8"), "fields are .*: expected the fields of (blocks|pairs)", BOTH,
    ),
    "a field with a shape of text": (
        _set("fields", 1, "shape", value=["8"]), r"fields\[1\]\.shape is \['8'\]: expected a list of whole", BOTH,
    ),
    "a field with an empty axis": (
        _set("fields", 1, "shape", value=[0]), r"fields\[1\]\.shape is \[0\]: expected a list of whole numbers", BOTH,
    ),
    "a missing field": (_remove("fields", 1), "fields are '(tokens|target)'.*: expected the fields of", BOTH),
    "tokens without a halo": (
        _set("fields", 0, "shape", value=[8]), r"the field tokens has the shape \[8\]: expected \[14\]", ("blocks",),
    ),
    "contexts of another size": (
        _set("fields", 1, "shape", value=[9]), r"the field context has the shape \[9\]: expected \[4\]", ("pairs",),
    ),
    "foreign compression": (_set("compression", value="zstd"), "compression is 'zstd': expected none or gzip", BOTH),
    "window_size 0": (_set("window_size", value=0), "window_size is 0: expected a whole number from 1 to 255", BOTH),
    "window_size as a fraction": (_set("window_size", value=2.5), "window_size is 2.5: expected a whole number", BOTH),
    "window_size that contradicts": (
        _set("window_size", value=4), "context_weights has 3 numbers: expected 4, by the window", ("blocks",),
    ),
    "no context_weights": (_remove("context_weights"), "context_weights is missing: expected a list", ("blocks",)),
    "negative context_weights": (
        _set("context_weights", 1, value=-0.5), r"context_weights is \[1\.0, -0\.5.*: expected .* above 0", ("blocks",),
    ),
    "infinite context_weights": (
        _set("context_weights", 1, value=float("inf")), "context_weights is .*inf.*: expected", ("blocks",),
    ),
    "negative num_negatives": (
        _set("num_negatives", value=-5), "num_negatives is -5: expected a whole number from 1 to", BOTH,
    ),
    "num_negatives as true": (_set("num_negatives", value=True), "num_negatives is True: expected a whole", BOTH),
    "no passes": (_remove("passes"), "passes is missing: expected a whole number of 1 or more", BOTH),
    "vocab_size of no words": (_set("vocab_size", value=2), "vocab_size is 2: expected a whole number from 3 to", BOTH),
    "vocab_size as text": (_set("vocab_size", value="16"), "vocab_size is '16': expected a whole number", BOTH),
    "no vocabulary_sha256": (_remove("vocabulary_sha256"), "vocabulary_sha256 is missing: expected 64 hex", BOTH),
    "an empty vocabulary_sha256": (_set("vocabulary_sha256", value=""), "vocabulary_sha256 is '': expected 64", BOTH),
    "a short phrases_sha256": (_set("phrases_sha256", value="0"), "phrases_sha256 is '0': expected 64 hex", BOTH),
    "no num_words": (_remove("num_words"), "num_words is missing: expected a whole number of 1 or more", BOTH),
    "negative num_tokens": (_set("num_tokens", value=-1), "num_tokens is -1: expected a whole number", BOTH),
    "more tokens than words": (_set("num_tokens", value=10**6), "num_tokens is 1000000: expected no more than", BOTH),
    "num_skip_grams that do not add up": (
        _set("num_skip_grams", value=7), "num_skip_grams is 7, but the skip_grams of the shards add up to", BOTH,
    ),
    "more skip-grams than tokens have": (
        _set("num_tokens", value=2), r"num_skip_grams is \d+: expected no more than num_tokens 2 times twice", BOTH,
    ),
    "words and passes beyond all numbers": (
        lambda values: values.update(num_words=2**62, passes=2**62) or values["config"].pop("passes", None),
        "num_words is .* and passes is .*: expected a product of", BOTH,
    ),
    "counters of another type": (_set("counters", value=[]), r"counters is \[\]: expected a JSON object", BOTH),
    "a negative counter": (
        _set("counters", "words_oov", value=-3), r"counters\.words_oov is -3: expected a whole number of 0", BOTH,
    ),
    "a counter that contradicts": (
        _set("counters", "skip_grams", value=1), r"num_skip_grams is \d+, but counters\.skip_grams is 1", BOTH,
    ),
    "a setting that contradicts": (
        _set("config", "passes", value=9), r"passes is 1, but config\.passes is 9: expected the same value", BOTH,
    ),
    "no config": (_remove("config"), "config is missing: expected a JSON object", BOTH),
    "no shards": (_set("shards", value=[]), r"shards is \[\]: expected a list of JSON objects that is not empty", BOTH),
    "shards of another type": (_set("shards", value={"a": 1}), "shards is .*: expected a list of JSON objects", BOTH),
    "a shard that leaves the directory": (
        _set("shards", 0, "name", value="skipgrams/../../x"), r"shards\[0\]\.name is .*: expected a path inside", BOTH,
    ),
    "a shard anywhere on the disk": (
        _set("shards", 0, "name", value="/etc/passwd"), r"shards\[0\]\.name is .*: expected a path inside", BOTH,
    ),
    "a shard in a bucket": (
        _set("shards", 0, "name", value="gs://bucket/x"), r"shards\[0\]\.name is .*: expected a path inside", BOTH,
    ),
    "a shard by a path of Windows": (
        _set("shards", 0, "name", value="C:\\skipgrams\\x"), r"shards\[0\]\.name is .*: expected a path inside", BOTH,
    ),
    "a shard without a file name": (
        _set("shards", 0, "name", value="skipgrams/"), r"shards\[0\]\.name is .*: expected a path inside", BOTH,
    ),
    "a shard that is the manifest": (
        _set("shards", 0, "name", value="manifest.json"), r"shards\[0\]\.name is .*: expected a path inside", BOTH,
    ),
    "a shard that is the transform graph": (
        _set("shards", 0, "name", value="transform_fn/saved_model.pb"), r"shards\[0\]\.name is .*: expected a", BOTH,
    ),
    "a shard with an empty name": (
        _set("shards", 0, "name", value=""), r"shards\[0\]\.name is '': expected a text that is not empty", BOTH,
    ),
    "a shard with NUL in its name": (
        _set("shards", 0, "name", value="skipgrams/a\0b"), r"shards\[0\]\.name is .*: expected .* control", BOTH,
    ),
    "a shard with a newline in its name": (
        _set("shards", 0, "name", value="skipgrams/a\nb"), r"shards\[0\]\.name is .*: expected .* control", BOTH,
    ),
    "a shard with half a character in its name": (
        _set("shards", 0, "name", value="skipgrams/\ud800"), r"shards\[0\]\.name is .*: expected .* control", BOTH,
    ),
    "a shard without name": (_remove("shards", 0, "name"), r"shards\[0\]\.name is missing: expected a text", BOTH),
    "a shard of negative bytes": (
        _set("shards", 0, "bytes", value=-1), r"shards\[0\]\.bytes is -1: expected a whole number of 0 or more", BOTH,
    ),
    "a shard with more records than examples": (
        _set("shards", -1, "records", value=10**6), r"shards\[\d\]\.examples is \d+: expected at least one", BOTH,
    ),
    "a shard with more skip-grams than its blocks hold": (
        _set("shards", 1, "examples", value=1), "has 270 skip_grams: expected at most 48 for each", ("blocks",),
    ),
    "a shard with other pairs than skip-grams": (
        _set("shards", 0, "examples", value=10**5), r"has 100000 pairs and \d+ skip_grams: expected", ("pairs",),
    ),
    "a shard of nothing with skip-grams": (
        _set("shards", 0, "skip_grams", value=5), r"shards\[0\]\.skip_grams is 5: expected 0", ("blocks",),
    ),
    "a field of another name": (
        _set("fields", 0, "name", value="x" * 500), "fields are 'xxx.*: expected the fields of", BOTH,
    ),
    "a shard named twice": (_duplicate_shard, "shards names skipgrams/.* twice: expected each file once", BOTH),
    "no holdout": (_remove("holdout"), "holdout is missing: expected a list of JSON objects", BOTH),
    "holdout of another type": (_set("holdout", value=0.1), "holdout is 0.1: expected a list of JSON objects", BOTH),
    "a holdout file that leaves the directory": (
        _hold_out(name="holdout/../../x"), r"holdout\[0\]\.name is .*: expected a path inside", BOTH,
    ),
    "a holdout file of negative bytes": (_hold_out(bytes=-1), r"holdout\[0\]\.bytes is -1: expected a whole", BOTH),
    "a holdout file with more records than lines": (
        _hold_out(records=3), r"holdout\[0\]\.lines is 2: expected at least one line for each of its 3", BOTH,
    ),
    "a holdout file with more lines than words": (
        _hold_out(words=1), r"holdout\[0\]\.words is 1: expected at least one word for each of its 2", BOTH,
    ),
    "a holdout file with words on no line": (
        _hold_out(records=0, lines=0), r"holdout\[0\]\.words is 9: expected .* none without", BOTH,
    ),
    "a shard that is also held out": (
        lambda values: _hold_out(name=values["shards"][0]["name"])(values),
        "shards and holdout name skipgrams/.* twice: expected each file once",
        BOTH,
    ),
    "a shard left out": (_drop_shard, "the skip_grams of the shards add up to|has 82 pairs and 1 skip_grams", BOTH),
}  # fmt: skip

# Texts that are no manifest at all.
FOREIGN = {
    "an empty file": ("", "is not JSON"),
    "half a manifest": ('{"version": 3, "example_fo', "is not JSON"),
    "bytes that are not text": (b"\xff\xfe\x00", "is not JSON"),
    "a list": ("[]", "is not a JSON object"),
    "an empty object": ("{}", "version is missing"),
    "lists in lists": ("[" * 100_000, "is not JSON"),
    "a number of many digits": ('{"version": ' + "9" * 5_000 + "}", "is not JSON"),
    "somebody else's": ('{"name": "my-app", "version": "1.0.0"}', "version is '1.0.0': expected a whole number"),
}


def damaged(text: str, damage: str) -> str:
    """A manifest with one of DAMAGES."""
    values = json.loads(text)
    DAMAGES[damage][0](values)
    return json.dumps(values)


def _lines(change: Callable[[list[bytes]], Any]) -> Callable[[bytes], bytes]:
    """Changes the list of the lines of a vocabulary."""

    def changed(vocabulary: bytes) -> bytes:
        lines = vocabulary.splitlines(keepends=True)
        change(lines)
        return b"".join(lines)

    return changed


# What is damaged in vocabulary.tsv -> (the change, a regular expression for the message if no digest tells it).
VOCABULARIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a line too few": (_lines(lambda lines: lines.pop()), "vocabulary.tsv has 19 lines, but the vocab_size of"),
    "a line too many": (_lines(lambda lines: lines.append(b"new\t1\n")), "vocabulary.tsv has 21 lines, but the vocab"),
    "no last newline": (lambda vocabulary: vocabulary[:-1], "vocabulary.tsv has 19 lines"),
    "empty": (lambda _: b"", "vocabulary.tsv has 0 lines"),
    "two lines swapped": (
        _lines(lambda lines: lines.insert(4, lines.pop(3))), "vocabulary.tsv differs from transform_fn/assets/vocab",
    ),
    "a letter changed": (lambda vocabulary: vocabulary.replace(b"fox", b"fix"), "vocabulary.tsv differs from"),
    "a line without tab": (
        _lines(lambda lines: lines.__setitem__(3, b"fox 8\n")), "line 4 of vocabulary.tsv is not a token, a tab and a",
    ),
    "a count that is no number": (
        _lines(lambda lines: lines.__setitem__(3, b"fox\t-8\n")), "line 4 of vocabulary.tsv is not a token, a tab and",
    ),
    "a line without token": (
        _lines(lambda lines: lines.__setitem__(3, b"\t8\n")), "line 4 of vocabulary.tsv is not a token, a tab and a",
    ),
    "a token twice": (
        _lines(lambda lines: lines.__setitem__(3, lines[2])), "line 4 of vocabulary.tsv repeats the token 'the'",
    ),
    "bytes that are not UTF-8": (
        _lines(lambda lines: lines.__setitem__(3, b"f\xfcx\t8\n")), "line 4 of vocabulary.tsv is not UTF-8",
    ),
    "no line for padding": (
        _lines(lambda lines: lines.__setitem__(0, b"pad\t0\n")), r"line 1 of vocabulary.tsv has not the token \[PAD\]",
    ),
}  # fmt: skip


# Every place of a manifest, and what may not stand there.
WRONG = {
    "nothing": _remove,
    "null": None,
    "a list": [],
    "an object": {},
    "-1": -1,
    "a huge number": 10**30,
    "text": "?",
}
# What may stand there after all: what was there, and objects with names of any kind.
FREE = {
    "blocks": {
        (("counters",), "an object"),
        (("config",), "an object"),
        (("holdout",), "a list"),
        (("phrases_sha256",), "nothing"),
    },
    "pairs": {
        (("counters",), "an object"),
        (("config",), "an object"),
        (("holdout",), "a list"),
        (("context_weights",), "a list"),
        (("fields", 0, "shape"), "a list"),
        (("phrases_sha256",), "nothing"),
    },
}


def places(text: str) -> list[tuple[str | int, ...]]:
    """The path of every value in a manifest that is checked by itself."""
    values = json.loads(text)
    names: list[tuple[str | int, ...]] = [(name,) for name in values]
    names += [("fields", number, name) for number, item in enumerate(values["fields"]) for name in item]
    return names + [("shards", number, name) for number, item in enumerate(values["shards"]) for name in item]


def changed(text: str, path: tuple[str | int, ...], wrong: str) -> str:
    """A manifest with a WRONG value in a place."""
    values = json.loads(text)
    (_remove(*path) if wrong == "nothing" else _set(*path, value=WRONG[wrong]))(values)
    return json.dumps(values)


CASES = [(damage, name) for damage, (_, _, formats) in DAMAGES.items() for name in formats]
