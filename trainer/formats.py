"""The two formats of training examples: blocks and pairs. One object per format holds all that differs between them.

A block holds S consecutive target words of the corpus, with their context words and negative samples:

    tokens     [S + 2w] int32   the targets, with w (the window size) words before and after them; 0 where there is none
    left       [S] uint8        how many words to the left of each target are its context: at most w
    right      [S] uint8        how many words to the right of each target are its context: at most w
    negatives  [N] int32        negative samples, which all targets of the block share

A pair holds one target word with one context word, as in TensorFlow's word2vec tutorial:

    target     [] int32
    context    [1 + K] int32    the true context word, then K negative samples

A batch of B examples is a dict of these arrays with a leading dimension B. The last batch of an epoch is filled up with
examples of zeros, which train nothing.
"""

import abc
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from trainer.losses import Loss, blocks_loss, pairs_loss
from trainer.manifest import Field, Manifest

LossFunction = Callable[[dict[str, tf.Tensor], tf.Tensor], Loss]  # examples, logits -> loss


@dataclass(frozen=True)
class ExampleFormat(abc.ABC):
    """What the trainer needs to know about a format."""

    targets_per_example: int  # S; 1 for a pair

    name: ClassVar[str]  # as in the manifest
    losses: ClassVar[tuple[str, ...]]  # the values of --loss that can be used
    has_accuracy: ClassVar[bool]  # whether Loss.num_right has a meaning
    permuted_fields: ClassVar[tuple[str, ...]]  # see trainer.batches.epoch_batches

    @classmethod
    @abc.abstractmethod
    def from_manifest(cls, manifest: Manifest) -> "ExampleFormat":
        """The format of a dataset, with its sizes and weights."""

    @abc.abstractmethod
    def ids(self, examples: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Which rows of the two embedding tables a batch uses.

        Args:
            examples: a batch of B examples.

        Returns:
            The ids of the targets [B, S] int32, and the ids [B, R] int32 of the words that every target of the same
            example is compared with: context words and negative samples.
        """

    @abc.abstractmethod
    def loss_function(self, loss: str) -> LossFunction:
        """The function that computes the loss of a batch and its gradient.

        Args:
            loss: one of `losses`.

        Returns:
            A function of a batch of B examples and its logits [B, S, R] float32.
        """

    def get_config(self) -> dict[str, Any]:
        """The format as values that JSON has. `format_from_config` turns them back into the format."""
        values = asdict(self)
        return {"name": self.name, **{key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}}


@dataclass(frozen=True)
class Blocks(ExampleFormat):
    """Skip-gram blocks."""

    context_weights: tuple[float, ...]  # how much a skip-gram counts if its words are at distance 1, 2.. w
    num_negatives: int  # negative samples per skip-gram, in expectation

    name = "blocks"
    losses = ("negative_sampling",)
    has_accuracy = False
    # Negative samples are drawn independently of the text. Blocks may therefore exchange them, which is as good as
    # drawing new ones. Whole blocks are runs of text, and permuting them gains nothing.
    permuted_fields = ("negatives",)

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> "Blocks":
        (left,) = (field for field in manifest.fields if field.name == "left")
        return cls(left.shape[0], manifest.context_weights, manifest.num_negatives)

    def ids(self, examples: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        tokens, window_size = examples["tokens"], len(self.context_weights)
        targets = tokens[:, window_size : window_size + self.targets_per_example]
        return targets, tf.concat([tokens, examples["negatives"]], axis=1)

    def loss_function(self, loss: str) -> LossFunction:
        return partial(blocks_loss, context_weights=self.context_weights, num_negatives=self.num_negatives)


@dataclass(frozen=True)
class Pairs(ExampleFormat):
    """Pairs of a target and a context word."""

    targets_per_example: int = 1

    name = "pairs"
    losses = ("negative_sampling", "softmax")
    has_accuracy = True
    # A pair's negative samples never include its own context word, so pairs keep them and are permuted as a whole.
    # Otherwise a batch would be the same run of text in every epoch.
    permuted_fields = ("target", "context")

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> "Pairs":
        return cls()

    def ids(self, examples: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return examples["target"][:, tf.newaxis], examples["context"]

    def loss_function(self, loss: str) -> LossFunction:
        return partial(pairs_loss, loss=loss)


_FORMATS: dict[str, type[ExampleFormat]] = {each.name: each for each in (Blocks, Pairs)}


def format_of(manifest: Manifest) -> ExampleFormat:
    """The format of the examples that a manifest describes."""
    return _FORMATS[manifest.example_format].from_manifest(manifest)


def format_from_config(config: Mapping[str, Any]) -> ExampleFormat:
    """The format that ExampleFormat.get_config has described."""
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in config.items()}
    return _FORMATS[values.pop("name")](**values)


def bytes_of(field: Field) -> int:
    """How many bytes a field takes in an example."""
    return int(np.prod(field.shape, dtype=np.int64)) * np.dtype(field.dtype).itemsize


def limit_of(field: Field, manifest: Manifest) -> int:
    """What all numbers of a field are below. Ids are below the vocab_size; a context is not larger than the window."""
    return manifest.vocab_size if field.dtype == "int32" else manifest.window_size + 1
