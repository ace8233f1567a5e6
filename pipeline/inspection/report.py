"""Answers about a dataset as text for people."""

from collections.abc import Iterable, Iterator, Sequence

from pipeline.inspection.occurrences import Occurrences, WordInShards
from pipeline.inspection.overview import Overview
from pipeline.inspection.word_facts import Coverage, Row, WordFacts

_SETTINGS_SHOWN = ("tokenizer", "min_count", "subsample", "window_size", "num_negatives", "passes")
_SHARDS_SHOWN = 20


def examples(texts: Iterable[str], what: Overview) -> Iterator[str]:
    """What the dataset holds, and some of its examples, in parts."""
    yield f"{what.skip_grams:,} skip-grams in {what.examples:,} {what.example_format}, {what.ids:,} ids\n"
    for text in texts:
        yield f"\n{text}\n"


def held_out(texts: Iterable[str], what: Overview) -> Iterator[str]:
    """How many lines are held out, and some of them, in parts."""
    yield f"{what.held_out_lines:,} lines with {what.held_out_words:,} words are held out\n\n"
    for text in texts:
        yield f"{text}\n"


def overview(what: Overview) -> Iterator[str]:
    """The text, the vocabulary, the shards, and which further questions there are."""
    made = ", ".join(f"{name} {what.settings[name]}" for name in _SETTINGS_SHOWN if name in what.settings)
    size = f"{what.shard_bytes / 1e6:,.1f} MB" if what.shard_bytes >= 1e5 else f"{what.shard_bytes:,} bytes"
    yield _table([
        ("text", f"{what.text_words:,} words, {_share(what.unknown_share)} of them not in the vocabulary"),
        ("vocabulary", " ".join(what.first_words) + (" ..." if what.ids > len(what.first_words) + 2 else "")),
        ("shards", f"{what.shards:,}, {size}"),
        ("made with", made),
        ("ask also", "--vocabulary 20, --word WORD, --skip_grams WORD, --coverage"),
    ])  # fmt: skip


def vocabulary(rows: Iterable[Row]) -> Iterator[str]:
    """The first lines of the vocabulary."""
    cells = [("id", "count", "share", "so far", "word")]
    cells += ((f"{r.id:,}", f"{r.count:,}", _share(r.share), _share(r.cumulative_share), r.word) for r in rows)
    yield _columns(cells)


def words(found: Iterable[WordFacts]) -> Iterator[str]:
    """Facts about words."""
    yield "\n".join(map(_word, found))


def _word(facts: WordFacts) -> str:
    if facts.id is None:
        near = f"; spelled like it are {', '.join(facts.like)}" if facts.like else ""
        return f"{facts.word}: not in the vocabulary{near}\n"
    rank = f", the {_ordinal(facts.rank)} most frequent word" if facts.rank > 1 else ", the most frequent word"
    lines = [
        ("id", f"{facts.id:,}"),
        ("count", f"{facts.count:,}, {_share(facts.share)} of the text{rank if facts.rank else ''}"),
        ("kept", f"{_share(facts.keep_probability)} of its occurrences, by subsampling"),
        *([("target", f"{_share(facts.target_probability)} of those kept")] if facts.target_probability < 1 else []),
        ("negative", f"{_share(facts.negative_probability)} of the negative samples drawn"),
    ]
    return f"{facts.word}\n{_table(lines, '  ')}"


def coverage(cover: Coverage) -> Iterator[str]:
    """How much of the text the most frequent words cover."""
    by_share = [("to cover", "words", "min. count")]
    by_share += ((f"{each.share:.1%}", f"{each.words:,}", f"{each.min_count:,}") for each in cover.by_share)
    by_size = [("words", "cover", "min. count")]
    by_size += ((f"{each.words:,}", _share(each.share), f"{each.min_count:,}") for each in cover.by_size)
    by_min_count = [("--min_count", "words", "cover")]
    by_min_count += ((f"{each.min_count:,}", f"{each.words:,}", _share(each.share)) for each in cover.by_min_count)
    summary = _table([
        ("text", f"{cover.text_words:,} words"),
        ("vocabulary", f"{cover.vocabulary_words:,} words"),
        ("unknown", f"{_share(cover.unknown_share)} of the text"),
    ])  # fmt: skip
    tables = [_columns(cells) for cells in (by_size, by_share, by_min_count) if len(cells) > 1]
    yield "\n".join([summary, *tables])


def skip_grams(found: WordInShards) -> Iterator[str]:
    """Where a word is in the shards."""
    total = found.total
    shared = ", each for all targets of a block" if found.example_format == "blocks" else ""
    yield f"{found.word}\n"
    yield _table([
        ("target", f"of {total.as_target:,} skip-grams"),
        ("context", f"of {total.as_context:,} skip-grams"),
        ("negative", f"{total.as_negative:,} times{shared}"),
        ("records", f"{total.records:,} in {len(found.shards):,} shards"),
    ], "  ")  # fmt: skip
    cells = [("records", "target", "context", "negative", "shard")]
    cells += ((*_numbers(each), name) for name, each in list(found.shards.items())[:_SHARDS_SHOWN])
    if found.shards:
        yield f"\n{_columns(cells)}"
    if len(found.shards) > _SHARDS_SHOWN:
        yield f"... and {len(found.shards) - _SHARDS_SHOWN:,} more, which --json lists\n"
    for number, each in enumerate(found.examples):
        yield "\n" if not number else ""
        yield f"{each.shard}, record {each.record:,}: {each.text}\n"


def _numbers(found: Occurrences) -> tuple[str, str, str, str]:
    return f"{found.records:,}", f"{found.as_target:,}", f"{found.as_context:,}", f"{found.as_negative:,}"


def _share(share: float) -> str:
    """A share in percent, with three digits that count."""
    return f"{100 * share:.3g} %" if 0 < share < 0.1 else f"{share:.1%}".replace("%", " %")


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _table(lines: Iterable[tuple[str, str]], indent: str = "") -> str:
    return "".join(f"{indent}{name:<12}{value}\n" for name, value in lines)


def _columns(cells: Sequence[tuple[str, ...]]) -> str:
    """Cells in columns. The first row has the headings. A column of names stands at its left, others at their right."""
    columns = [[*column] for column in zip(*cells, strict=True)]
    for column in columns:
        width = max(map(len, column))
        is_text = column[0] in ("word", "shard")
        column[:] = [cell if is_text else cell.rjust(width) for cell in column]
    return "".join(f"{'  '.join(row)}\n" for row in zip(*columns, strict=True))
