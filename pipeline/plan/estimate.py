"""What a run will come to, estimated from a sample of the text before the job is paid for."""

import dataclasses
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
from pipeline.examples.draws import random_stream
from pipeline.examples.skipgrams import Distributions, skip_gram_examples
from pipeline.plan.growth import frequent_probabilities, vocabulary_size
from pipeline.plan.sample import Piece, read_pieces, text_files
from pipeline.text.tokenizer import tokenize

_MOST_BYTES = 64 << 20  # of a sample whose size nobody has asked for
_LEAST_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Plan:
    """Estimates for a whole text; what is no int is in the unit that its name says."""

    text_bytes: int  # as the files are, compressed or not
    sample_bytes: int
    lines: int
    words: int
    vocab_size: int  # [PAD] and [UNK] included
    words_known: int  # occurrences of words of the vocabulary
    tokens: int  # after subsampling, in all passes
    skip_grams: int
    shard_bytes: int
    vocabulary_bytes: int
    vocabulary_seconds: float  # of one core, to count words
    examples_seconds: float  # of one core, to write examples

    @property
    def worker_hours(self) -> float:
        """Of one core each, without starting and stopping."""
        return (self.vocabulary_seconds + self.examples_seconds) / 3600

    def device_bytes(self, embedding_dim: int) -> int:
        """What a GPU must hold to train: two float32 tables, and a number of state for each row of them."""
        return 2 * self.vocab_size * (embedding_dim + 1) * 4

    def trainer_bytes(self, embedding_dim: int) -> int:
        """The largest memory of the trainer's process on a CPU.

        As measured, it is five tables, reached while the vectors are exported, 400 bytes for each word, and 1 GB.
        """
        return 10**9 + self.vocab_size * (5 * embedding_dim * 4 + 400)


def estimate(config: PipelineConfig, share: float | None = None) -> Plan:
    """Estimates what `config` would come to.

    Args:
        config: the settings; --output is not looked at.
        share: of the text's bytes to read, in (0, 1]; None: 5 %, but from 1 MiB to 64 MiB.

    Raises:
        UserError: the input is not there, cannot be read, or holds nothing to estimate from.
    """
    files = text_files(config.input)
    text_bytes = sum(files.values())
    if share is None:
        share = min(1.0, max(min(0.05, _MOST_BYTES / max(1, text_bytes)), _LEAST_BYTES / max(1, text_bytes)))
    offset = random_stream(config.seed, "plan").random()
    pieces = list(read_pieces(files, share, offset))
    sample_bytes = sum(piece.bytes for piece in pieces)
    blocks = list(_text_blocks(pieces))
    if blocks:
        tokenize(tf.constant(blocks[0][:100]), config.tokenizer)  # the first call takes longer

    times = text_bytes / max(1, sample_bytes)
    start = time.perf_counter()
    counts = Counter()
    for lines in blocks:
        counts.update(_count_words(lines, config))
    vocabulary_seconds = time.perf_counter() - start
    if not counts:
        raise UserError("--input holds no words in the sample: give --plan a larger share, or look at the text")

    seen = np.array(list(counts.values()), np.int64)
    words = _likely_vocabulary(counts, frequent_probabilities(seen, times, config.min_count), config)
    if not words:
        raise UserError(f"--min_count {config.min_count} leaves no word that the sample has: expected a lower one")
    size = vocabulary_size([_count_words(piece.lines, config) for piece in pieces], times, config.min_count)
    vocab_size = min(FIRST_WORD_ID + max(len(words), round(size)), config.vocab_size or 2**31)
    known = sum(counts[word] for word in words)
    id_counts = np.array([0, counts.total() - known, *(counts[word] for word in words)], np.int64)

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
    )


def _text_blocks(pieces: Sequence[Piece]) -> Iterator[list[bytes]]:
    """The lines of the pieces in blocks as large as the pipeline's."""
    lines, size = [], 0
    for piece in pieces:
        lines += piece.lines
        size += piece.bytes
        if size >= TEXT_BLOCK_BYTES:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _count_words(lines: list[bytes], config: PipelineConfig) -> Counter:
    tokens = tokenize(tf.constant(lines, tf.string), config.tokenizer).flat_values
    words, _, counts = tf.unique_with_counts(tokens)
    return Counter(dict(zip(words.numpy().tolist(), counts.numpy().tolist(), strict=True)))


def _likely_vocabulary(counts: Counter, probabilities: np.ndarray, config: PipelineConfig) -> list[bytes]:
    """The sample's words that are likely to be in the vocabulary, in its order; the rare ones are drawn by lot."""
    chosen = random_stream(config.seed, "plan", "vocabulary").random(len(counts)) < probabilities
    reserved = {token.encode() for token in RESERVED_TOKENS}
    words = [word for word, is_chosen in zip(counts, chosen.tolist(), strict=True) if is_chosen]
    words = sorted((word for word in words if word not in reserved), key=lambda w: (counts[w], w), reverse=True)
    return words[: config.vocab_size - FIRST_WORD_ID] if config.vocab_size else words


def _write_examples(
    blocks: list[list[bytes]], words: list[bytes], id_counts: np.ndarray, config: PipelineConfig
) -> tuple[Counter, int]:
    """Writes the sample's examples as the pipeline would, and forgets them: what was counted, and the bytes."""
    ids = tf.range(FIRST_WORD_ID, FIRST_WORD_ID + len(words), dtype=tf.int64)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant(words), ids), UNK_ID)
    distributions = Distributions.of(id_counts, config)
    drawn = Counter()

    def examples():
        for pass_number in range(config.passes):
            for offset, lines in enumerate(blocks):
                tokens = tokenize(tf.constant(lines, tf.string), config.tokenizer)
                found, number = skip_gram_examples(
                    table.lookup(tokens.flat_values).numpy(),
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
