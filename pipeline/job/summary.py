"""What a finished run says, for people."""

from pipeline.dataset.layout import FIRST_WORD_ID


def summary(contents: dict, worker_seconds: dict[str, float], seconds: float) -> str:
    """What a finished run says: the dataset's numbers from its manifest, and the time that it took."""
    counters = contents["counters"]
    num_words, skip_grams = contents["num_words"], contents["num_skip_grams"]
    num_known = num_words - counters["words_oov"] // contents["passes"]
    num_bytes = sum(shard["bytes"] for shard in contents["shards"])
    lines = [
        ("lines", f"{contents['num_lines']:,}"),
        ("words", f"{num_words:,}"),
        ("vocabulary", f"{contents['vocab_size'] - FIRST_WORD_ID:,} words, {num_known / num_words:.1%} of the text"),
        ("tokens kept", f"{contents['num_tokens']:,} in {_times(contents['passes'], 'pass', 'passes')}"),
        ("skip-grams", f"{skip_grams:,}, {num_bytes / skip_grams:.2f} bytes each"),
        ("shards", f"{len(contents['shards'])}, {num_bytes / 1e6:,.1f} MB"),
        ("time", f"{seconds:.1f} s" + "".join(f", {stage} {s:.2f} worker-s" for stage, s in worker_seconds.items())),
    ]
    mended = [f"{value:,} {name}" for name, value in counters.items() if value and name in _REMARKABLE]
    if mended:
        lines.append(("survived", ", ".join(mended)))
    lines.append(("dataset", contents["config"]["output"]))
    return "\n".join(f"{name:<12}{value}" for name, value in lines)


_REMARKABLE = (
    "byte_order_marks",
    "lines_crlf",
    "lines_cut",
    "lines_empty",
    "lines_invalid_utf8",
    "lines_unterminated",
    "lines_with_nul",
    "sentences_split",
    "tokens_dropped_alone",
)


def _times(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
