"""The two formats of training examples, blocks and pairs. One object a format owns all that differs between them.

A block holds S consecutive target words of the subsampled text and all that is needed to list their skip-grams:

    tokens     [S + 2w] int32   the targets, with w (the window size) words before and after them; 0 where there is none
    left       [S] uint8        how many words to the left of each target are its context: at most w
    right      [S] uint8        how many words to the right of each target are its context: at most w
    negatives  [N] int32        negative samples, which all targets of the block share

The w words on either side are the block's halo. They are the targets of the neighbouring blocks, and without them the
skip-grams at a block's edges would be lost. `left` and `right` are smaller than w near the ends of a sentence. The
skip-grams of target i are (tokens[w + i], tokens[w + i + d]) for all d in -left[i]..right[i] except 0.

A pair holds one skip-gram with its own negative samples, as in TensorFlow's word2vec tutorial:

    target     [] int32
    context    [1 + K] int32    the true context word, then K negative samples
"""

import abc
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.config import PipelineConfig
from pipeline.dataset.manifest import Field
from pipeline.examples import draws


class Blocks(NamedTuple):
    """n skip-gram blocks. The arrays are those above with a leading dimension n."""

    tokens: np.ndarray
    left: np.ndarray
    right: np.ndarray
    negatives: np.ndarray


class Pairs(NamedTuple):
    """n skip-grams with their negative samples. The arrays are those above with a leading dimension n."""

    target: np.ndarray
    context: np.ndarray


Examples = Blocks | Pairs


class Format(abc.ABC):
    """What differs between the formats. It has no state: settings come from the config."""

    name: str  # as in --example_format
    examples: type[Blocks] | type[Pairs]  # the class that holds the arrays of n examples

    @abc.abstractmethod
    def fields(self, config: PipelineConfig) -> tuple[Field, ...]:
        """The arrays of one example, in the order of the fields of `examples`."""

    @abc.abstractmethod
    def targets_per_example(self, config: PipelineConfig) -> int:
        """How many target words one example holds."""

    @abc.abstractmethod
    def context_weights(self, config: PipelineConfig) -> tuple[float, ...]:
        """What a skip-gram counts in training if its two words are at distance 1, 2.. w; empty if all count 1."""

    @abc.abstractmethod
    def radii(self, num_targets: int, config: PipelineConfig, rng: np.random.Generator) -> np.ndarray:
        """How many words on each side are the context of each target, [num_targets] int64, from 1 to w."""

    @abc.abstractmethod
    def assemble(
        self,
        tokens: np.ndarray,
        left: np.ndarray,
        right: np.ndarray,
        noise: draws.Noise,
        config: PipelineConfig,
        rng: np.random.Generator,
    ) -> Examples:
        """Makes examples of a run of targets and draws their negative samples.

        Args:
            tokens: [T] int32, the targets.
            left, right: [T] uint8, how many words on each side of a target are its context.
            noise: the distribution of the negative samples.
            config: the pipeline's settings.
            rng: the random stream of the negative samples.

        Raises:
            UserError: the vocabulary is too small for that many negative samples.
        """

    @abc.abstractmethod
    def describe(self, example: Mapping[str, np.ndarray], words: Sequence[str]) -> str:
        """An example in words, for people.

        Args:
            example: the arrays of one example, by field name.
            words: [V] the word of each id.
        """


class _BlockFormat(Format):
    name = "blocks"
    examples = Blocks

    def fields(self, config: PipelineConfig) -> tuple[Field, ...]:
        return (
            Field("tokens", "int32", (config.block_targets + 2 * config.window_size,)),
            Field("left", "uint8", (config.block_targets,)),
            Field("right", "uint8", (config.block_targets,)),
            Field("negatives", "int32", (config.block_negatives,)),
        )

    def targets_per_example(self, config: PipelineConfig) -> int:
        return config.block_targets

    def context_weights(self, config: PipelineConfig) -> tuple[float, ...]:
        """See the base class.

        word2vec.c draws a radius for each target. A block has all skip-grams of the window instead, and each counts
        as often as it would be drawn. The expected gradient is the same, without the noise of the draw.
        """
        if config.shrink_windows:
            return draws.reach_probabilities(config.window_size)
        return (1.0,) * config.window_size

    def radii(self, num_targets: int, config: PipelineConfig, rng: np.random.Generator) -> np.ndarray:
        return np.full(num_targets, config.window_size)  # nothing is drawn: see context_weights

    def assemble(
        self,
        tokens: np.ndarray,
        left: np.ndarray,
        right: np.ndarray,
        noise: draws.Noise,
        config: PipelineConfig,
        rng: np.random.Generator,
    ) -> Blocks:
        blocks = cut_blocks(tokens, left, right, config.block_targets, config.window_size)
        return Blocks(*blocks, noise.draw((len(blocks[0]), config.block_negatives), rng))

    def describe(self, example: Mapping[str, np.ndarray], words: Sequence[str]) -> str:
        tokens, left, right = example["tokens"], example["left"], example["right"]
        halo = (len(tokens) - len(left)) // 2
        used = [i for i in range(len(left)) if left[i] or right[i]]
        lines = [
            f"targets    : {tokens[halo : halo + len(left)][used]}",
            f"negatives  : {' '.join(_in_words(example['negatives'], words))}",
            f"skip-grams : {int(left.sum(dtype=int) + right.sum(dtype=int))}",
        ]
        for i in used:
            position = halo + i
            before = _in_words(tokens[position - left[i] : position], words)
            after = _in_words(tokens[position + 1 : position + 1 + right[i]], words)
            lines.append(f"  {words[tokens[position]]}: {' '.join([*before, '_', *after])}")
        return "\n".join(lines)


class _PairFormat(Format):
    name = "pairs"
    examples = Pairs

    def fields(self, config: PipelineConfig) -> tuple[Field, ...]:
        return Field("target", "int32", ()), Field("context", "int32", (1 + config.num_negatives,))

    def targets_per_example(self, config: PipelineConfig) -> int:
        return 1

    def context_weights(self, config: PipelineConfig) -> tuple[float, ...]:
        return ()

    def radii(self, num_targets: int, config: PipelineConfig, rng: np.random.Generator) -> np.ndarray:
        if config.shrink_windows:
            return draws.draw_radii(num_targets, config.window_size, rng)
        return np.full(num_targets, config.window_size)

    def assemble(
        self,
        tokens: np.ndarray,
        left: np.ndarray,
        right: np.ndarray,
        noise: draws.Noise,
        config: PipelineConfig,
        rng: np.random.Generator,
    ) -> Pairs:
        targets, contexts = enumerate_pairs(tokens, left, right)
        negatives = draws.draw_unique_negatives(noise, contexts, config.num_negatives, rng)
        return Pairs(targets, np.column_stack([contexts, negatives]))

    def describe(self, example: Mapping[str, np.ndarray], words: Sequence[str]) -> str:
        target, context = int(example["target"]), example["context"]
        return "\n".join([  # the lines of the tutorial
            f"target_index    : {target}",
            f"target_word     : {words[target]}",
            f"context_indices : {context}",
            f"context_words   : {_in_words(context, words)}",
            f"label           : [1{' 0' * (len(context) - 1)}]",
        ])  # fmt: skip


_FORMATS: dict[str, Format] = {each.name: each for each in (_BlockFormat(), _PairFormat())}


def named(name: str) -> Format:
    """The format of that name, `blocks` or `pairs`."""
    return _FORMATS[name]


def format_of(config: PipelineConfig) -> Format:
    """The format that --example_format chooses."""
    return named(config.example_format)


def cut_blocks(
    tokens: np.ndarray, left: np.ndarray, right: np.ndarray, block_targets: int, window_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts a run of targets into blocks. The last block is filled up with targets that have no skip-grams.

    Args:
        tokens, left, right: [T] the targets, and how many words on each side of them are their context.
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
    """Lists every skip-gram of a run of targets, by target and then from left to right.

    Args:
        tokens, left, right: [T] the targets, and how many words on each side of them are their context.

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


def _in_words(ids: np.ndarray, words: Sequence[str]) -> list[str]:
    return [words[i] for i in ids]
