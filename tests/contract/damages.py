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


# What is damaged -> (the change, a regular expression for the message, the example formats that it applies to).
BOTH = ("blocks", "pairs")
DAMAGES: dict[str, tuple[Callable[[Values], None], str, tuple[str, ...]]] = {
    "no version": (_remove("version"), "version is missing: expected a whole number", BOTH),
    "a later version": (_set("version", value=4), "has version 4: this program reads versions 2 and 3", BOTH),
    "an earlier version": (_set("version", value=1), "has version 1: this program reads versions 2 and 3", BOTH),
    "version as text": (_set("version", value="3"), "version is '3': expected a whole number", BOTH),
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
    "a missing field": (_remove("fields", 1), "fields are (tokens|target).*: expected the fields of", BOTH),
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
        _set("window_size", value=4), "context_weights has 3 numbers: expected one for each", ("blocks",),
    ),
    "no context_weights": (_remove("context_weights"), "context_weights is missing: expected a list", ("blocks",)),
    "negative context_weights": (
        _set("context_weights", 1, value=-0.5), r"context_weights is \[1\.0, -0\.5.*: expected .* above 0", ("blocks",),
    ),
    "infinite context_weights": (
        _set("context_weights", 1, value=float("inf")), "context_weights is .*inf.*: expected", ("blocks",),
    ),
    "negative num_negatives": (
        _set("num_negatives", value=-5), "num_negatives is -5: expected a whole number of 1 or more", BOTH,
    ),
    "num_negatives as true": (_set("num_negatives", value=True), "num_negatives is True: expected a whole", BOTH),
    "no passes": (_remove("passes"), "passes is missing: expected a whole number of 1 or more", BOTH),
    "vocab_size of no words": (_set("vocab_size", value=2), "vocab_size is 2: expected a whole number from 3 to", BOTH),
    "vocab_size as text": (_set("vocab_size", value="16"), "vocab_size is '16': expected a whole number", BOTH),
    "no num_words": (_remove("num_words"), "num_words is missing: expected a whole number of 1 or more", BOTH),
    "negative num_tokens": (_set("num_tokens", value=-1), "num_tokens is -1: expected a whole number", BOTH),
    "more tokens than words": (_set("num_tokens", value=10**6), "num_tokens is 1000000: expected no more than", BOTH),
    "num_skip_grams that do not add up": (
        _set("num_skip_grams", value=7), "num_skip_grams is 7, but the skip_grams of the shards add up to", BOTH,
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
    "a shard without name": (_remove("shards", 0, "name"), r"shards\[0\]\.name is missing: expected a text", BOTH),
    "a shard of negative bytes": (
        _set("shards", 0, "bytes", value=-1), r"shards\[0\]\.bytes is -1: expected a whole number of 0 or more", BOTH,
    ),
    "a shard with more records than examples": (
        _set("shards", -1, "records", value=10**6), r"shards\[\d\]\.examples is \d+: expected at least one", BOTH,
    ),
    "a shard named twice": (_duplicate_shard, "shards names skipgrams/.* twice: expected each file once", BOTH),
    "a shard left out": (_drop_shard, "the skip_grams of the shards add up to|other examples than skip_grams", BOTH),
}  # fmt: skip

# Texts that are no manifest at all.
FOREIGN = {
    "an empty file": ("", "is not JSON"),
    "half a manifest": ('{"version": 3, "example_fo', "is not JSON"),
    "bytes that are not text": (b"\xff\xfe\x00", "is not JSON"),
    "a list": ("[]", "is not a JSON object"),
    "an empty object": ("{}", "version is missing"),
    "somebody else's": ('{"name": "my-app", "version": "1.0.0"}', "version is '1.0.0': expected a whole number"),
}


def damaged(text: str, damage: str) -> str:
    """A manifest with one of DAMAGES."""
    values = json.loads(text)
    DAMAGES[damage][0](values)
    return json.dumps(values)


CASES = [(damage, name) for damage, (_, _, formats) in DAMAGES.items() for name in formats]
