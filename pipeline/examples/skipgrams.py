"""From the token ids of a text block to its skip-gram examples. Pure NumPy.

A text block is about a megabyte of one file's lines, which are read and turned into examples together (see
pipeline.text.lines). A token is a word that the text still holds after subsampling.
"""

from typing import NamedTuple

import numpy as np

from pipeline.config import MAX_SENTENCE_TOKENS, PipelineConfig
from pipeline.dataset.layout import FIRST_WORD_ID
from pipeline.examples import draws
from pipeline.examples.formats import Examples, format_of
from pipeline.streams import random_stream


class Distributions(NamedTuple):
    """The probabilities that the random draws need, by id; the arrays are [V] float64."""

    keep: np.ndarray  # the probability that an occurrence stays in the text
    is_target: np.ndarray | None  # the probability that a word that stayed is a target; None if all are
    noise: draws.Noise  # the distribution of the negative samples

    @classmethod
    def of(cls, counts: np.ndarray, config: PipelineConfig) -> "Distributions":
        """The distributions for a vocabulary whose ids occur `counts` times, [V] int64."""
        first_id = config.first_token_id
        zipf = config.subsampling == "zipf"
        if config.negatives == "log_uniform":
            noise_cdf = draws.log_uniform_cdf(len(counts), first_id)
        else:
            noise_cdf = draws.noise_cdf(counts, config.ns_exponent, first_id)
        return cls(
            keep=draws.keep_probabilities(counts, 0 if zipf else config.subsample, first_id),
            is_target=draws.zipf_keep_probabilities(len(counts), config.subsample) if zipf else None,
            noise=draws.Noise(noise_cdf),
        )


def subsample(
    ids: np.ndarray, lengths: np.ndarray, keep: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Drops words at random. This happens before windows are laid, so windows reach across the dropped words.

    Args:
        ids: [T] the words of all sentences, one sentence after the other.
        lengths: [n] the number of words in each sentence, T in all.
        keep: [V] the probability that an occurrence stays; 0 for ids that never stay.
        rng: gives one draw per word.

    Returns:
        The ids that stay, int32, and the sentences' new lengths [n].
    """
    kept = rng.random(len(ids)) < keep[ids]
    ends = np.cumsum(lengths)
    kept_before = np.concatenate(([0], np.cumsum(kept)))
    return ids[kept].astype(np.int32), kept_before[ends] - kept_before[ends - lengths]


def context_extents(lengths: np.ndarray, radii: np.ndarray, sequence_length: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """How many words on each side of a target are its context, within its sentence.

    Args:
        lengths: [n] tokens in each sentence, T in all.
        radii: [T] each target's window radius.
        sequence_length: the most tokens of a sentence; the rest of a longer one is a sentence of its own. 0 stands
            for MAX_SENTENCE_TOKENS, which is word2vec.c's limit.

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


def skip_gram_examples(
    ids: np.ndarray,
    lengths: np.ndarray,
    distributions: Distributions,
    config: PipelineConfig,
    stream_key: tuple[int, str, int],
) -> tuple[Examples, dict[str, int]]:
    """The examples of one text block in one pass over the corpus.

    Args:
        ids: [T] the ids of the words of all lines, one line after the other.
        lengths: [n] the number of words in each line.
        distributions: the probabilities for the corpus's vocabulary.
        config: the pipeline's settings.
        stream_key: names the random streams: the pass's number, the file's path relative to the input root, and the
            byte offset of the text block.

    Returns:
        The examples in the format of config.example_format, and what was counted on the way, by counter name.

    Raises:
        UserError: the vocabulary is too small for that many negative samples.
    """

    def stream(stage: str) -> np.random.Generator:
        return random_stream(config.seed, stage, *stream_key)

    example_format = format_of(config)
    num_words = int(np.count_nonzero(ids >= config.first_token_id))
    tokens, lengths = subsample(ids, lengths, distributions.keep, stream("subsample"))
    radii = example_format.radii(len(tokens), config, stream("radii"))
    left, right = context_extents(lengths, radii, config.sequence_length)

    # A word alone in its sentence has no context, and is in the context of no other word.
    has_context = (left > 0) | (right > 0)
    counts = {
        "words_oov": int(np.count_nonzero(ids < FIRST_WORD_ID)),
        "words_dropped_subsampling": num_words - len(tokens),
        "tokens_kept": len(tokens),
        "tokens_dropped_alone": int(len(tokens) - has_context.sum()),
        "sentences_split": int(((lengths - 1) // (config.sequence_length or MAX_SENTENCE_TOKENS)).clip(0).sum()),
    }
    tokens, left, right = tokens[has_context], left[has_context], right[has_context]
    if distributions.is_target is not None:
        is_target = stream("targets").random(len(tokens)) < distributions.is_target[tokens]
        left, right = left * is_target, right * is_target
        counts["targets_dropped_subsampling"] = int(len(tokens) - is_target.sum())
    counts["skip_grams"] = int(left.sum(dtype=np.int64) + right.sum(dtype=np.int64))

    examples = example_format.assemble(tokens, left, right, distributions.noise, config, stream("negatives"))
    return examples, counts
