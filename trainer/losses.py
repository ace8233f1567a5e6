"""The loss of a batch and its gradient by the logits, in closed form, each one compiled function.

Logits are [B, S, R]: S targets of each example against its R context rows. B blocks have R = S + 2w + N: the block's
tokens, then its negative samples. B pairs are the same with S = 1 and R = 1 + K: the true context word, then its
negative samples.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

_SURE = 1e-7  # added to a probability before its logarithm


class Loss(NamedTuple):
    """What the logits of a batch come to."""

    gradient: tf.Tensor  # [B, S, R] float32, of the loss summed over all skip-grams
    loss: tf.Tensor  # [] float32, summed over `num_skip_grams`
    num_skip_grams: tf.Tensor  # [] float32
    num_right: tf.Tensor  # [] float32, pairs whose true context word has the largest logit; 0 for blocks


class BlockWeights(NamedTuple):
    """What a target and a row of its block count as a pair, float32; 0 where they are none."""

    contexts: tf.Tensor  # [B, S, S + 2w]
    negatives: tf.Tensor  # [B, S, N]
    skip_grams: tf.Tensor  # [B, S, 1], each target's sum of `contexts`


def block_weights(blocks: dict[str, tf.Tensor], context_weights: tuple[float, ...], num_negatives: int) -> BlockWeights:
    """Reads off the skip-grams of blocks.

    A negative sample has the weight (skip-grams of the target) x num_negatives / N, so that the expected gradient is
    that of num_negatives for each skip-gram; it has none where it is one of the target's own context words.

    Args:
        blocks: tokens [B, S + 2w] int32, left and right [B, S] uint8, negatives [B, N] int32.
        context_weights: what a context word counts, by its distance, 1..w.
        num_negatives: negative samples per skip-gram.

    Returns:
        See BlockWeights.
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
    """The logistic loss of skip-gram blocks: -log s(x) of a context word, -log s(-x) of a negative sample.

    A logarithm costs more than all else here, and the gradient has none: of 8 blocks or more, the loss that is
    reported is that of every fourth.

    Args:
        blocks, context_weights, num_negatives: as for block_weights.
        logits: [B, S, S + 2w + N] float32.

    Returns:
        See Loss.
    """
    weights = block_weights(blocks, context_weights, num_negatives)
    num_tokens = weights.contexts.shape[2]
    context = tf.sigmoid(-logits[:, :, :num_tokens])
    negative = tf.sigmoid(logits[:, :, num_tokens:])
    # Two parts, put together at the end: XLA's code for the CPU is vectorized so, and where they are summed over the
    # last axis last.
    gradient = tf.concat([-weights.contexts * context, weights.negatives * negative], axis=2)
    some = slice(None, None, 4 if logits.shape[0] >= 8 else 1)
    losses = (
        -weights.contexts[some] * tf.math.log(1 - context[some] + _SURE),
        -weights.negatives[some] * tf.math.log(1 - negative[some] + _SURE),
    )
    loss = tf.add_n([tf.reduce_sum(tf.reduce_sum(part, axis=[0, 1])) for part in losses])
    return Loss(gradient, loss, tf.reduce_sum(weights.skip_grams[some]), tf.constant(0.0))


@tf.function(jit_compile=True)
def pairs_loss(pairs: dict[str, tf.Tensor], logits: tf.Tensor, objective: str) -> Loss:
    """The loss of pairs.

    Args:
        pairs: target [B] int32, 0 where a batch is filled up; context [B, 1 + K] int32, the true one first.
        logits: [B, 1, 1 + K] float32.
        objective: negative_sampling, a logistic loss for each of the 1 + K; or softmax, the cross-entropy over them.

    Returns:
        See Loss.
    """
    is_there = tf.cast(pairs["target"] > 0, tf.float32)[:, tf.newaxis, tf.newaxis]
    labels = tf.one_hot(tf.zeros_like(pairs["target"]), logits.shape[2])[:, tf.newaxis]
    if objective == "softmax":
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
