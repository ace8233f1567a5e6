"""The numbers of a run in words."""

import os
from collections.abc import Mapping
from typing import Any

from trainer.config import SCORES
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.manifest import Manifest
from trainer.report.corpus import coverage
from trainer.report.sources import Corpus, Sources

Fact = tuple[str, str]  # what it is, and its value

TITLES = {"accuracy": "accuracy", **SCORES}  # of what metrics.json has a number for each epoch, beside the loss
# The counters of a manifest in words. {} is the number.
MENDED = {
    "byte_order_marks": "{} files began with a byte order mark, which was removed",
    "lines_crlf": "{} lines ended in CR LF instead of LF",
    "lines_cut": "{} times a line was too long for the memory of a worker, and was cut",
    "lines_empty": "{} lines were empty",
    "lines_invalid_utf8": "{} lines were no valid UTF-8, and got replacement characters",
    "lines_unterminated": "{} files ended without the end of a line",
    "lines_with_nul": "{} lines had NUL bytes, which became spaces",
    "rows_not_json": "{} rows were no JSON, and were left out",
    "rows_null": "{} rows had no value in the column",
    "rows_too_long": "{} rows were too long, and were left out",
    "rows_without_column": "{} rows did not have the column",
    "rows_wrong_type": "{} rows had a value of another type in the column, and were left out",
    "tokens_empty": "{} items were empty, and were left out",
    "tokens_null": "{} items were null, and were left out",
    "tokens_with_white_space": "{} items had white space, which became _",
    "sentences_split": "{} times a sentence was too long, and went on as another one",
    "words_oov": "{} words of the text are not in the vocabulary",
    "words_dropped_subsampling": "{} words were dropped by subsampling, as they are so frequent",
    "targets_dropped_subsampling": "{} words were skipped as targets by subsampling, as they are so frequent",
    "tokens_dropped_alone": "{} words were left alone in their sentences, and so have no context",
}
_COUNTED_IN_EACH_PASS = (
    "sentences_split", "words_oov", "words_dropped_subsampling", "targets_dropped_subsampling", "tokens_dropped_alone",
)  # fmt: skip


def inputs(manifest: Manifest) -> list[str]:
    """What the pipeline read: the values of --input."""
    found = manifest.config.get("input", ())
    return [str(each) for each in found] if isinstance(found, list | tuple) else [str(found)]


def title(sources: Sources) -> str:
    """What the report is about."""
    if not sources.corpus:
        return f"Word vectors in {os.path.basename(sources.model.rstrip('/')) or sources.model}"
    names = [source_name(path) for path in inputs(sources.corpus.manifest)]
    return f"Word vectors of {', '.join(names[:3])}{' and more' if len(names) > 3 else ''}"


def source_name(pattern: str) -> str:
    """The last part of a path without wildcards, such as `corpus` of `corpus/*.txt`."""
    parts = [part for part in pattern.split("/") if part and not set(part) & set("*?[")]
    return parts[-1] if parts else pattern


def tiles(sources: Sources) -> list[Fact]:
    """The most important numbers."""
    metrics, corpus = sources.metrics, sources.corpus
    num_epochs = len(metrics["loss"])
    kept = min(metrics.get("best_epoch") or num_epochs, num_epochs)  # the epoch whose vectors the model has
    which = "in the last epoch" if kept == num_epochs else f"in epoch {kept}, the best"
    found: list[Fact] = []
    if corpus:
        share = coverage(corpus.counts, corpus.manifest.num_words)
        found += [
            ("words of text", short(corpus.manifest.num_words)),
            ("in the vocabulary", f"{len(corpus.counts):,}"),
            ("of the text covered", f"{share[-1]:.1%}" if len(share) else "0%"),
        ]
    elif "vocab_size" in metrics:
        found.append(("words in the vocabulary", f"{metrics['vocab_size'] - FIRST_WORD_ID:,}"))
    found += [
        ("skip-grams an epoch", short(metrics.get("skip_grams_per_epoch", 0))),
        ("dimensions", str(metrics["config"].get("embedding_dim", "?"))),
        ("epochs", str(num_epochs)),
        ("of training", duration(metrics.get("train_seconds", 0))),
        ("words a second", short(metrics.get("words_per_second", 0))),
        (f"loss {which}", f"{metrics['loss'][kept - 1]:.4f}"),
    ]
    for name, text in TITLES.items():
        if isinstance(metrics.get(name), list) and len(metrics[name]) >= kept:
            found.append((text, f"{metrics[name][kept - 1]:.4f}"))
    return [*found, ("on disk", size_text(sum(sources.sizes.values())))]


def corpus_facts(corpus: Corpus) -> list[Fact]:
    """What the text was, and how it was read."""
    manifest, config = corpus.manifest, corpus.manifest.config
    rounds = config.get("phrases", 0)
    found = [
        ("Files", " ".join(inputs(manifest))),
        ("Column", str(config.get("column") or "")),
        ("Lines", f"{manifest.num_lines:,}"),
        ("Words", f"{manifest.num_words:,}"),
        ("Tokenizer", str(config.get("tokenizer", ""))),
        ("Phrases", f"{manifest.counters.get('phrases', 0):,}, joined in {rounds} rounds" if rounds else "none"),
        ("Vocabulary", f"{len(corpus.counts):,} words, each at least {config.get('min_count', '?')} times in the text"),
        ("Given vocabulary", str(config.get("vocabulary") or "")),
        ("Words kept", f"{manifest.num_tokens:,} after subsampling, in {manifest.passes} "
         f"{'pass' if manifest.passes == 1 else 'passes'}"),
        ("Skip-grams", f"{manifest.num_skip_grams:,}"),
        ("Held out", _held_out(manifest)),
        ("Dataset", f"{corpus.directory}, {size_text(sum(shard.bytes for shard in manifest.shards))} in "
         f"{len(manifest.shards)} shards"),
    ]  # fmt: skip
    return [(name, value) for name, value in found if value]


def mended(manifest: Manifest) -> list[str]:
    """What was mended in the text or dropped from it, a sentence each."""
    counters, passes = manifest.counters, manifest.passes
    in_all = f" (in all {passes} passes)" if passes > 1 else ""
    return [
        text.format(f"{counters[name]:,}") + (in_all if name in _COUNTED_IN_EACH_PASS else "")
        for name, text in MENDED.items()
        if counters.get(name)
    ]


def init_fact(metrics: Mapping[str, Any]) -> str:
    """What became of the words with --init; empty without it."""
    found = metrics.get("init")
    if not isinstance(found, dict):
        return ""
    return (
        f"The run started from {metrics['config'].get('init') or 'earlier vectors'}. {found.get('taken', 0):,} words "
        f"went on from there; {found.get('new', 0):,} were new, which are {found.get('new_share', 0):.1%} of the text; "
        f"{found.get('gone', 0):,} of its words were gone."
    )


def _held_out(manifest: Manifest) -> str:
    if not manifest.holdout:
        return ""
    lines, words = (sum(getattr(file, name) for file in manifest.holdout) for name in ("lines", "words"))
    return f"{lines:,} lines with {words:,} words, which are in no skip-gram"


def short(number: float) -> str:
    """A number with three digits.

    >>> short(9_165_934), short(43_719_316), short(812), short(2.5e9)
    ('9.17 M', '43.7 M', '812', '2.50 G')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size * 0.9995:
            value = number / size
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{digits}f} {unit}"
    return f"{number:,.0f}"


def size_text(num_bytes: int) -> str:
    """A size in bytes as text.

    >>> size_text(338_400_000), size_text(512)
    ('338 MB', '512 B')
    """
    return (
        short(num_bytes).replace("k", "kB").replace("M", "MB").replace("G", "GB")
        if num_bytes >= 1000
        else (f"{num_bytes} B")
    )


def duration(seconds: float) -> str:
    """A time as text.

    >>> duration(5.25), duration(332.4), duration(7384)
    ('5.2 s', '5 min 32 s', '2 h 3 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
