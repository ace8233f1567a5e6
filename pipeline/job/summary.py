"""What a finished run tells the user."""

from collections.abc import Mapping

from pipeline.dataset.layout import FIRST_WORD_ID
from pipeline.dataset.manifest import Manifest

# What was unusual in the text and was mended, or had no place in any skip-gram.
_MENDED_COUNTERS = (
    "byte_order_marks",
    "lines_crlf",
    "lines_cut",
    "lines_empty",
    "lines_invalid_utf8",
    "lines_unterminated",
    "lines_with_nul",
    "rows_not_json",
    "rows_null",
    "rows_too_long",
    "rows_without_column",
    "rows_wrong_type",
    "sentences_split",
    "tokens_dropped_alone",
    "tokens_empty",
    "tokens_null",
    "tokens_with_white_space",
)


def summary(manifest: Manifest, output: str, worker_seconds: Mapping[str, float], seconds: float) -> str:
    """The numbers of a dataset and the time that it took, a line each.

    Args:
        manifest: of the dataset.
        output: where it is.
        worker_seconds: by stage, the seconds that all workers together spent in it.
        seconds: from the start of the run to its end.
    """
    num_known = manifest.num_words - manifest.counters["words_oov"] // manifest.passes
    num_bytes = sum(shard.bytes for shard in manifest.shards)
    known = f"{manifest.vocab_size - FIRST_WORD_ID:,} words, {num_known / manifest.num_words:.1%} of the text"
    passes = f"{manifest.passes} {'pass' if manifest.passes == 1 else 'passes'}"
    stages = "".join(f", {stage} {time:.2f} worker-s" for stage, time in worker_seconds.items())
    lines = [
        ("lines", f"{manifest.num_lines:,}"),
        ("words", f"{manifest.num_words:,}"),
        *([("phrases", f"{manifest.counters.get('phrases', 0):,}")] if manifest.phrases_sha256 else []),
        ("vocabulary", known),
        ("tokens kept", f"{manifest.num_tokens:,} in {passes}"),
        ("skip-grams", f"{manifest.num_skip_grams:,}, {num_bytes / manifest.num_skip_grams:.2f} bytes each"),
        ("shards", f"{len(manifest.shards)}, {num_bytes / 1e6:,.1f} MB"),
        ("time", f"{seconds:.1f} s{stages}"),
    ]
    if "vocabulary_given" in manifest.counters:
        lines.append(("drift", _drift(manifest)))
    if manifest.holdout:
        num_lines, num_words = (sum(getattr(file, name) for file in manifest.holdout) for name in ("lines", "words"))
        lines.append(("held out", f"{num_lines:,} lines, {num_words:,} words"))
    counters = {name: manifest.counters.get(name, 0) for name in _MENDED_COUNTERS}
    if any(counters.values()):
        lines.append(("survived", ", ".join(f"{value:,} {name}" for name, value in counters.items() if value)))
    lines.append(("dataset", output))
    return "\n".join(f"{name:<12}{value}" for name, value in lines)


def _drift(manifest: Manifest) -> str:
    """How the text differs from the one that the given vocabulary was made from."""
    given, gone, new, words_new = (
        manifest.counters[name] for name in ("vocabulary_given", "vocabulary_gone", "vocabulary_new", "words_new")
    )
    unknown = manifest.counters["words_oov"] // manifest.passes + words_new
    return (
        f"{unknown / manifest.num_words:.1%} of the text is not in the given vocabulary; {gone:,} of its {given:,} "
        f"words are gone, {new:,} words are new and {words_new / manifest.num_words:.1%} of the text"
    )
