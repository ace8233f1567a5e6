"""The loss of a batch and its gradient with respect to the logits. One compiled function computes both.

A logit is the scalar product of a target word's embedding and the embedding of another word: a context word, which
should get a large logit, or a negative sample, a random word, which should get a small one. Logits are [B, S, R]. Each
of B examples has S targets, and each target is compared with the same R words. A block has R = S + 2w + N words: its
tokens, then its negative samples. A pair has S = 1 and R = 1 + K: the true context word, then its negative samples.
Module trainer.formats describes the examples.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

_EPSILON = 1e-7  # added to a probability before its logarithm is taken, as the logarithm of 0 is infinite


class Loss(NamedTuple):
    """The loss of a batch."""

    gradient: tf.Tensor  # [B, S, R] float32, by the logits, of the loss summed over all skip-grams of the batch
    loss: tf.Tensor  # [] float32, the sum over `num_skip_grams` skip-grams
    num_skip_grams: tf.Tensor  # [] float32
    num_right: tf.Tensor  # [] float32, pairs whose true context word has the largest logit; 0 for blocks


class BlockWeights(NamedTuple):
    """How much each combination of a target and another word counts in the loss, float32; 0 if it is no skip-gram."""

    contexts: tf.Tensor  # [B, S, S + 2w]
    negatives: tf.Tensor  # [B, S, N]
    skip_grams: tf.Tensor  # [B, S, 1], the sum of a target's `contexts`


def block_weights(blocks: dict[str, tf.Tensor], context_weights: tuple[float, ...], num_negatives: int) -> BlockWeights:
    """Lists the skip-grams of blocks, as weights.

    A negative sample has the weight (skip-grams of the target) x num_negatives / N. The expected gradient is then that
    of num_negatives samples for each skip-gram. The weight is 0 if the sample is one of the target's context words.

    Args:
        blocks: tokens [B, S + 2w] int32, left and right [B, S] uint8, negatives [B, N] int32.
        context_weights: how much a skip-gram counts if its words are at distance 1, 2.. w.
        num_negatives: negative samples per skip-gram.
    """
    tokens, negatives = blocks["tokens"], blocks["negatives"]
    left = tf.cast(blocks["left"], tf.int32)[:, :, tf.newaxis]
    right = tf.cast(blocks["right"], tf.int32)[:, :, tf.newaxis]
    num_targets, window_size = left.shape[1], len(context_weights)

    distance = np.arange(num_targets + 2 * window_size) - (np.arange(num_targets)[:, np.newaxis] + window_size)
    by_distance = np.zeros(num_targets + 2 * window_size, np.float32)
    by_distance[1 : window_size + 1] = context_weights
    in_sentence = (distance >= -left) & (distance <= right)
    contexts = tf.where(in_sentence, by_distance[np.abs(distance)], 0.0)

    is_own_context = tf.zeros([1, 1, 1], tf.bool)  # [B, S, N]
    for d in range(-window_size, window_size + 1):
        if d:
            context = tokens[:, window_size + d : window_size + d + num_targets, tf.newaxis]
            inside = (left >= -d) if d < 0 else (right >= d)
            is_own_context |= inside & (context == negatives[:, tf.newaxis, :])
    up_to = tf.constant(np.cumsum([0, *context_weights]), tf.float32)
    skip_grams = tf.gather(up_to, left) + tf.gather(up_to, right)
    weight = tf.where(is_own_context, 0.0, skip_grams * (num_negatives / negatives.shape[1]))
    return BlockWeights(contexts, weight, skip_grams)


@tf.function(jit_compile=True)
def blocks_loss(
    blocks: dict[str, tf.Tensor], logits: tf.Tensor, context_weights: tuple[float, ...], num_negatives: int
) -> Loss:
    """The logistic loss of blocks: -log s(x) for a context word and -log s(-x) for a negative sample with logit x.

    s is the logistic function. Logarithms cost more than all other operations here, and the gradient needs none. If
    there are 8 blocks or more, the reported loss therefore covers only every fourth block.

    Args:
        blocks, context_weights, num_negatives: as for block_weights.
        logits: [B, S, S + 2w + N] float32.
    """
    weights = block_weights(blocks, context_weights, num_negatives)
    num_tokens = weights.contexts.shape[2]
    context = tf.sigmoid(-logits[:, :, :num_tokens])
    negative = tf.sigmoid(logits[:, :, num_tokens:])
    # XLA's code for the CPU is vectorized only if the two parts are put together at the end, and if sums go over the
    # last axis last.
    gradient = tf.concat([-weights.contexts * context, weights.negatives * negative], axis=2)
    some = slice(None, None, 4 if logits.shape[0] >= 8 else 1)
    losses = (
        -weights.contexts[some] * tf.math.log(1 - context[some] + _EPSILON),
        -weights.negatives[some] * tf.math.log(1 - negative[some] + _EPSILON),
    )
    loss = tf.add_n([tf.reduce_sum(tf.reduce_sum(part, axis=[0, 1])) for part in losses])
    return Loss(gradient, loss, tf.reduce_sum(weights.skip_grams[some]), tf.constant(0.0))


@tf.function(jit_compile=True)
def pairs_loss(pairs: dict[str, tf.Tensor], logits: tf.Tensor, loss: str) -> Loss:
    """The loss of pairs.

    Args:
        pairs: target [B] int32, which is 0 where a batch is filled up; context [B, 1 + K] int32, the true word first.
        logits: [B, 1, 1 + K] float32.
        loss: negative_sampling, a logistic loss for each of the 1 + K words; or softmax, the cross-entropy over them.
    """
    is_there = tf.cast(pairs["target"] > 0, tf.float32)[:, tf.newaxis, tf.newaxis]
    labels = tf.one_hot(tf.zeros_like(pairs["target"]), logits.shape[2])[:, tf.newaxis]
    if loss == "softmax":
        probabilities = tf.nn.softmax(logits)
        losses = tf.nn.softmax_cross_entropy_with_logits(labels, logits)[:, :, tf.newaxis]
    else:
        probabilities = tf.sigmoid(logits)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
    is_right = tf.cast(tf.argmax(logits, axis=2) == 0, tf.float32)[:, :, tf.newaxis]
    return Loss(
        gradient=is_there * (probabilities - labels),
        loss=tf.reduce_sum(is_there * losses),
        num_skip_grams=tf.reduce_sum(is_there),
        num_right=tf.reduce_sum(is_there * is_right),
    )
