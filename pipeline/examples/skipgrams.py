"""From token ids to skip-gram examples, in blocks or in pairs. Pure NumPy.

A block is a run of S consecutive targets of the subsampled text with all that is needed to read off its skip-grams:

    tokens     [S + 2w] int32   the targets, with w (the window size) words on either side; 0 where there is none
    left       [S] uint8        how many words to the left of a target are its context: w, less at a sentence's start
    right      [S] uint8        the same to the right
    negatives  [N] int32        words from the noise distribution, shared by the block's targets

The skip-grams of target i are (tokens[w + i], tokens[w + i + d]) for d in -left[i]..right[i] except 0. What they count
in training depends on |d|, see block_context_weights.

A pair is one skip-gram with its own negative samples, as in TensorFlow's word2vec tutorial:

    target     [] int32
    context    [1 + K] int32    the true context word, then K negative samples
"""

from typing import NamedTuple

import numpy as np

from pipeline.config import MAX_SENTENCE_TOKENS, PipelineConfig
from pipeline.dataset.layout import FIRST_WORD_ID
from pipeline.examples import draws


class Blocks(NamedTuple):
    """n skip-gram blocks; the fields are those above with a leading dimension n."""

    tokens: np.ndarray
    left: np.ndarray
    right: np.ndarray
    negatives: np.ndarray


class Pairs(NamedTuple):
    """n skip-grams with their negative samples; the fields are those above with a leading dimension n."""

    target: np.ndarray
    context: np.ndarray


class Distributions(NamedTuple):
    """What the draws need to know of the vocabulary, by id; [V] float64 each."""

    keep: np.ndarray  # the probability that an occurrence stays in the text
    train: np.ndarray | None  # the probability that an occurrence that stays is a target; None: all are
    noise_cdf: np.ndarray  # of the negative samples

    @classmethod
    def of(cls, counts: np.ndarray, config: PipelineConfig) -> "Distributions":
        """The distributions for the counts [V] of a vocabulary."""
        first_id = config.first_token_id
        zipf = config.subsampling == "zipf"
        if config.negatives == "log_uniform":
            noise = draws.log_uniform_cdf(len(counts), first_id)
        else:
            noise = draws.noise_cdf(counts, config.ns_exponent, first_id)
        return cls(
            keep=draws.keep_probabilities(counts, 0 if zipf else config.subsample, first_id),
            train=draws.zipf_keep_probabilities(len(counts), config.subsample) if zipf else None,
            noise_cdf=noise,
        )


def block_context_weights(config: PipelineConfig) -> list[float]:
    """What a skip-gram of a block counts, by the distance of its words, 1..w.

    Where word2vec.c draws a radius for each target, a block has all skip-grams of the window, and each counts as
    often as it would be drawn: the same expected gradient without the noise of the draw.
    """
    return draws.context_weights(config.window_size) if config.shrink_windows else [1.0] * config.window_size


def subsample(
    ids: np.ndarray, lengths: np.ndarray, keep: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Drops words at random, before windows are drawn, so that windows reach further.

    Args:
        ids: [T] the words of all sentences, one after the other.
        lengths: [n] words in each sentence, T in all.
        keep: [V] the probability that an occurrence stays; 0 for ids that never do.
        rng: gives one draw per word.

    Returns:
        The ids that stay, int32, and the sentences' new lengths [n].
    """
    kept = rng.random(len(ids)) < keep[ids]
    ends = np.cumsum(lengths)
    kept_before = np.concatenate(([0], np.cumsum(kept)))
    return ids[kept].astype(np.int32), kept_before[ends] - kept_before[ends - lengths]


def context_extents(lengths: np.ndarray, radii: np.ndarray, sequence_length: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """How far each target's context reaches, within its sentence.

    Args:
        lengths: [n] tokens in each sentence, T in all.
        radii: [T] each target's window radius.
        sequence_length: a longer sentence goes on as a new one; 0: MAX_SENTENCE_TOKENS, as in word2vec.c.

    Returns:
        left and right, [T] uint8.
    """
    longest = sequence_length or MAX_SENTENCE_TOKENS
    starts = np.cumsum(lengths) - lengths
    position = np.arange(len(radii)) - np.repeat(starts, lengths)
    before = position % longest
    end = np.minimum(position - before + longest, np.repeat(lengths, lengths))
    after = end - position - 1
    return np.minimum(radii, before).astype(np.uint8), np.minimum(radii, after).astype(np.uint8)


def cut_blocks(
    tokens: np.ndarray, left: np.ndarray, right: np.ndarray, block_targets: int, window_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts a run of targets into blocks; the last is filled up with targets that have no skip-grams.

    Args:
        tokens, left, right: [T] the targets and how far their context reaches.
        block_targets: S.
        window_size: w, the width of the halo.

    Returns:
        tokens [n, S + 2w] int32, left and right [n, S] uint8, where n = ceil(T / S).
    """
    num_blocks = -(-len(tokens) // block_targets)
    padding = num_blocks * block_targets - len(tokens)
    padded = np.pad(tokens, (window_size, window_size + padding))
    if num_blocks:
        views = np.lib.stride_tricks.sliding_window_view(padded, block_targets + 2 * window_size)
        tokens = views[::block_targets]
    else:
        tokens = np.zeros((0, block_targets + 2 * window_size), np.int32)
    shape = (num_blocks, block_targets)
    return tokens, np.pad(left, (0, padding)).reshape(shape), np.pad(right, (0, padding)).reshape(shape)


def enumerate_pairs(tokens: np.ndarray, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every skip-gram of a run of targets, by target and then from left to right.

    Args:
        tokens, left, right: [T] the targets and how far their context reaches.

    Returns:
        targets and contexts, [P] int32 each.
    """
    left, right = left.astype(np.int64), right.astype(np.int64)
    number = left + right
    target = np.repeat(np.arange(len(tokens)), number)
    nth = np.arange(len(target)) - np.repeat(np.cumsum(number) - number, number)
    distance = nth - left[target]
    distance += distance >= 0  # a target is not its own context
    return tokens[target], tokens[target + distance]


def skip_gram_examples(
    ids: np.ndarray, lengths: np.ndarray, distributions: Distributions, config: PipelineConfig, stream_key: tuple
) -> tuple[Blocks | Pairs, dict[str, int]]:
    """The examples of one text block in one pass.

    Args:
        ids: [T] token ids of all lines, one after the other.
        lengths: [n] words in each line.
        distributions: see there.
        config: the pipeline's settings.
        stream_key: (pass, path relative to the input root, byte offset): names the random streams.

    Returns:
        The examples in config.example_format, and what was counted on the way, by counter name.
    """

    def rng(stage):
        return draws.random_stream(config.seed, stage, *stream_key)

    num_words = int(np.count_nonzero(ids >= config.first_token_id))
    tokens, lengths = subsample(ids, lengths, distributions.keep, rng("subsample"))
    if config.shrink_windows and config.example_format == "pairs":
        radii = draws.draw_radii(len(tokens), config.window_size, rng("radii"))
    else:  # blocks have the whole window, see block_context_weights
        radii = np.full(len(tokens), config.window_size)
    left, right = context_extents(lengths, radii, config.sequence_length)

    # A word alone in its sentence has no context and is nobody's.
    has_context = (left > 0) | (right > 0)
    counts = {
        "words_oov": int(np.count_nonzero(ids < FIRST_WORD_ID)),
        "words_dropped_subsampling": num_words - len(tokens),
        "tokens_kept": len(tokens),
        "tokens_dropped_alone": int(len(tokens) - has_context.sum()),
        "sentences_split": int(((lengths - 1) // (config.sequence_length or MAX_SENTENCE_TOKENS)).clip(0).sum()),
    }
    tokens, left, right = tokens[has_context], left[has_context], right[has_context]
    if distributions.train is not None:
        is_target = rng("targets").random(len(tokens)) < distributions.train[tokens]
        left, right = left * is_target, right * is_target
        counts["targets_dropped_subsampling"] = int(len(tokens) - is_target.sum())
    counts["skip_grams"] = int(left.sum(dtype=np.int64) + right.sum(dtype=np.int64))

    noise_cdf = distributions.noise_cdf
    if config.example_format == "pairs":
        targets, contexts = enumerate_pairs(tokens, left, right)
        negatives = draws.draw_unique_negatives(noise_cdf, contexts, config.num_negatives, rng("negatives"))
        return Pairs(targets, np.column_stack([contexts, negatives])), counts
    blocks = cut_blocks(tokens, left, right, config.block_targets, config.window_size)
    negatives = draws.draw_negatives(noise_cdf, (len(blocks[0]), config.block_negatives), rng("negatives"))
    return Blocks(*blocks, negatives), counts
