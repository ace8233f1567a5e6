"""Estimates what a run will produce and cost, from a sample of the text.

The sample goes through the pipeline's own functions in this process. What comes out is multiplied by the ratio of the
text's size to the sample's; only the size of the vocabulary, which grows more slowly, needs pipeline.plan.growth.
"""

import dataclasses
import itertools
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from pipeline.config import TEXT_BLOCK_BYTES, PipelineConfig
from pipeline.dataset.layout import FIRST_WORD_ID, RESERVED_TOKENS, UNK_ID
from pipeline.errors import UserError
from pipeline.examples import records
from pipeline.examples.formats import Examples
from pipeline.examples.skipgrams import Distributions, skip_gram_examples
from pipeline.plan.growth import frequent_probabilities, vocabulary_size
from pipeline.plan.sample import Piece, read_pieces, text_files
from pipeline.streams import random_stream
from pipeline.text import holdout
from pipeline.text.given_vocabulary import read_given
from pipeline.text.lines import TextBlock
from pipeline.text.look_up import look_up
from pipeline.text.sources import Source
from pipeline.text.tokenizer import separated

# The sample is at least and at most this large, unless the user gives a share.
_SMALLEST_SAMPLE_BYTES = 1 << 20
_LARGEST_SAMPLE_BYTES = 64 << 20
_ID_BYTES = 4  # of an id, and of the length of a line, in the files of held-out lines


@dataclasses.dataclass(frozen=True)
class Plan:
    """Estimates for the whole text."""

    text_bytes: int  # size of the files on disk, compressed or not
    sample_bytes: int  # how many of these bytes were read
    lines: int  # held-out lines left out, as from all numbers below
    words: int
    vocab_size: int  # ids, [PAD] and [UNK] included
    words_known: int  # occurrences of words of the vocabulary
    tokens: int  # words left after subsampling, in all passes
    skip_grams: int  # in all passes
    shard_bytes: int  # size of all shards together
    vocabulary_bytes: int  # size of vocabulary.tsv
    vocabulary_seconds: float  # that one core takes to count words
    examples_seconds: float  # that one core takes to write examples
    holdout_lines: int = 0
    holdout_words: int = 0
    holdout_bytes: int = 0  # size of the files of held-out lines together, without compression

    @property
    def worker_hours(self) -> float:
        """How many hours one core takes for all of it, without starting and stopping workers."""
        return (self.vocabulary_seconds + self.examples_seconds) / 3600


def estimate(config: PipelineConfig, share: float | None = None) -> Plan:
    """Estimates what a run with these settings will produce and cost.

    Args:
        config: the settings. --output plays no part.
        share: how much of the text to read, in (0, 1]. None reads 5 %, but at least 1 MiB and at most 64 MiB.

    Raises:
        UserError: the input is missing, cannot be read, or holds too little to estimate from.
    """
    source = Source.of(config)
    files = text_files(config.input, source)
    text_bytes = sum(files.values())
    if share is None:
        size = max(min(0.05 * text_bytes, _LARGEST_SAMPLE_BYTES), _SMALLEST_SAMPLE_BYTES)
        share = min(1.0, size / max(1, text_bytes))
    offset = random_stream(config.seed, "plan").random()
    sample = list(read_pieces(files, share, offset, source))
    sample_bytes = sum(piece.bytes for piece in sample)
    pieces, held_out = _split(sample, config)
    blocks = list(_text_blocks(pieces))
    if blocks:
        separated(blocks[0][:100], config.tokenizer)  # the first call takes longer, and is not timed

    times = text_bytes / max(1, sample_bytes)
    start = time.perf_counter()
    counts: Counter[bytes] = Counter()
    for lines in blocks:
        counts.update(_count_words(lines, config))
    vocabulary_seconds = time.perf_counter() - start
    if not counts:
        raise UserError("--input holds no words in the sample: give --plan a larger share, or look at the text itself")

    words, vocab_size = _vocabulary(counts, pieces, times, config)
    known = sum(counts[word] for word in words)
    id_counts = np.array([0, counts.total() - known, *(counts[word] for word in words)], np.int64)

    holdout_words = _count_words(held_out, config).total()

    start = time.perf_counter()
    drawn, shard_bytes = _write_examples(blocks, words, id_counts, config)
    examples_seconds = time.perf_counter() - start
    if not drawn["skip_grams"]:
        raise UserError("--input gives no skip-gram in the sample: give --plan a larger share, or lower --min_count")
    return Plan(
        text_bytes=text_bytes,
        sample_bytes=sample_bytes,
        lines=round(times * sum(map(len, blocks))),
        words=round(times * counts.total()),
        vocab_size=vocab_size,
        words_known=round(times * known),
        tokens=round(times * drawn["tokens_kept"]),
        skip_grams=round(times * drawn["skip_grams"]),
        shard_bytes=round(times * shard_bytes),
        vocabulary_bytes=round(vocab_size * np.mean([len(b"%b\t%d\n" % (w, times * counts[w])) for w in words])),
        vocabulary_seconds=times * vocabulary_seconds,
        examples_seconds=times * examples_seconds,
        holdout_lines=round(times * len(held_out)),
        holdout_words=round(times * holdout_words),
        holdout_bytes=round(times * _ID_BYTES * (len(held_out) + holdout_words)),
    )


def _split(pieces: Sequence[Piece], config: PipelineConfig) -> tuple[list[Piece], list[bytes]]:
    """The pieces without the lines that are held out, and these lines. A line without words is not held out."""
    kept: list[Piece] = []
    held_out: list[bytes] = []
    for number, piece in enumerate(pieces):
        lines, others = holdout.split(TextBlock("plan", number, piece.lines, Counter()), config)
        has_words = [bool(words.split()) for words in separated(others, config.tokenizer)]
        held_out += itertools.compress(others, has_words)
        kept.append(piece._replace(lines=lines + [b""] * has_words.count(False)))
    return kept, held_out


def _text_blocks(pieces: Sequence[Piece]) -> Iterator[list[bytes]]:
    """The lines of the pieces, in blocks as large as the pipeline's text blocks."""
    lines: list[bytes] = []
    size = 0
    for piece in pieces:
        lines += piece.lines
        size += piece.bytes
        if size >= TEXT_BLOCK_BYTES:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _count_words(lines: list[bytes], config: PipelineConfig) -> Counter[bytes]:
    return Counter(b"\n".join(separated(lines, config.tokenizer)).split())


def _vocabulary(
    counts: Counter[bytes], pieces: Sequence[Piece], times: float, config: PipelineConfig
) -> tuple[list[bytes], int]:
    """Words that stand for the vocabulary, in its order, and how many ids the vocabulary will have.

    Args:
        counts: the counts of the words in the sample.
        pieces: the sample.
        times: how many times as large as the sample the text is.
        config: the settings.
    """
    given = read_given(config) if config.vocabulary else []
    known = frozenset(given)

    def without_given(of_all: Counter[bytes]) -> Counter[bytes]:
        return Counter({word: count for word, count in of_all.items() if word not in known}) if known else of_all

    others = without_given(counts)
    if given and not (others and config.grow_vocabulary):
        return given, FIRST_WORD_ID + len(given)
    seen = np.array(list(others.values()), np.int64)
    limit = config.vocab_size - FIRST_WORD_ID - len(given) if config.vocab_size else 2**31
    new = _likely_vocabulary(others, frequent_probabilities(seen, times, config.min_count), config)[:limit]
    if not given and not new:
        raise UserError(f"--min_count {config.min_count} leaves no word of the sample: expected a lower number")
    of_pieces = [without_given(_count_words(piece.lines, config)) for piece in pieces]
    num_new = min(limit, max(len(new), round(vocabulary_size(of_pieces, times, config.min_count))))
    return given + new, FIRST_WORD_ID + len(given) + num_new


def _likely_vocabulary(counts: Counter[bytes], probabilities: np.ndarray, config: PipelineConfig) -> list[bytes]:
    """Words of the sample that stand for the new words of the vocabulary, in the vocabulary's order.

    A word is taken with the probability that it is frequent enough in the text, so the number of words is about right.
    """
    chosen = random_stream(config.seed, "plan", "vocabulary").random(len(counts)) < probabilities
    reserved = {token.encode() for token in RESERVED_TOKENS}
    words = [word for word, is_chosen in zip(counts, chosen.tolist(), strict=True) if is_chosen]
    return sorted((word for word in words if word not in reserved), key=lambda w: (counts[w], w), reverse=True)


def _write_examples(
    blocks: list[list[bytes]], words: list[bytes], id_counts: np.ndarray, config: PipelineConfig
) -> tuple[Counter[str], int]:
    """Writes the sample's examples as the pipeline does, to a temporary file.

    Returns:
        What was counted, by counter name, and the size of the file in bytes.
    """
    ids = tf.range(FIRST_WORD_ID, FIRST_WORD_ID + len(words), dtype=tf.int64)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant(words), ids), UNK_ID)
    distributions = Distributions.of(id_counts, config)
    drawn: Counter[str] = Counter()

    def examples() -> Iterator[Examples]:
        for pass_number in range(config.passes):
            for offset, lines in enumerate(blocks):
                tokens = tf.strings.split(tf.constant(separated(lines, config.tokenizer), tf.string))
                found, number = skip_gram_examples(
                    look_up(tokens.flat_values, table).numpy(),
                    tokens.row_lengths().numpy(),
                    distributions,
                    config,
                    (pass_number, "plan", offset),
                )
                drawn.update(number)
                yield found

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "skipgrams")
        records.write(path, examples(), config)
        return drawn, os.path.getsize(path)
