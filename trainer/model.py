"""SkipGram (Mikolov et al. 2013): two embedding tables and the loss of a batch of examples.

Skip-grams are read off the examples here, inside the compiled step. B blocks have S targets each, and R = S + 2w + N
context rows: the block's tokens, then its negative samples. B pairs are the same with S = 1 and R = 1 + K: the true
context word, then its negative samples. Each of [B, S, R] has a label and a weight.
"""

from typing import NamedTuple

import keras
import tensorflow as tf


class Pairs(NamedTuple):
    """What a batch trains."""

    targets: tf.Tensor  # [B, S] int32, ids
    contexts: tf.Tensor  # [B, R] int32, ids
    labels: tf.Tensor  # [B, S, R] float32: 1 for a skip-gram, 0 for a negative sample
    weights: tf.Tensor  # [B, S, R] float32: 0 where target and context are no pair
    num_skip_grams: tf.Tensor  # [] float32


def expand_blocks(blocks: dict[str, tf.Tensor], window_size: int, num_negatives: int) -> Pairs:
    """Reads off the pairs of skip-gram blocks.

    A negative sample has the weight (skip-grams of the target) x num_negatives / N, so that the expected gradient is
    that of num_negatives for each skip-gram; it has none where it is one of the target's own context words.

    Args:
        blocks: tokens [B, S + 2w] int32, left and right [B, S] uint8, negatives [B, N] int32.
        window_size: w.
        num_negatives: negative samples per skip-gram.

    Returns:
        See Pairs.
    """
    tokens, negatives = blocks["tokens"], blocks["negatives"]
    left = tf.cast(blocks["left"], tf.int32)[:, :, tf.newaxis]
    right = tf.cast(blocks["right"], tf.int32)[:, :, tf.newaxis]
    num_targets = left.shape[1]

    target_position = tf.range(num_targets)[:, tf.newaxis] + window_size
    distance = (tf.range(num_targets + 2 * window_size) - target_position)[tf.newaxis]
    is_context = (distance >= -left) & (distance <= right) & (distance != 0)  # [B, S, S + 2w]

    is_own_context = tf.zeros([1, 1, 1], tf.bool)  # [B, S, N]
    for d in range(-window_size, window_size + 1):
        if d:
            context = tokens[:, window_size + d : window_size + d + num_targets, tf.newaxis]
            inside = (left >= -d) if d < 0 else (right >= d)
            is_own_context |= inside & (context == negatives[:, tf.newaxis, :])
    skip_grams = tf.cast(left + right, tf.float32)  # [B, S, 1]
    negative_weight = skip_grams * (num_negatives / negatives.shape[1])

    is_context = tf.cast(is_context, tf.float32)
    return Pairs(
        targets=tokens[:, window_size : window_size + num_targets],
        contexts=tf.concat([tokens, negatives], axis=1),
        labels=tf.concat([is_context, tf.zeros_like(is_own_context, tf.float32)], axis=2),
        weights=tf.concat([is_context, tf.where(is_own_context, 0.0, negative_weight)], axis=2),
        num_skip_grams=tf.reduce_sum(skip_grams),
    )


def expand_pairs(pairs: dict[str, tf.Tensor]) -> Pairs:
    """The same for examples that are pairs already.

    Args:
        pairs: target [B] int32, 0 where a batch is filled up; context [B, 1 + K] int32, the true one first.

    Returns:
        See Pairs; S is 1.
    """
    target, context = pairs["target"][:, tf.newaxis], pairs["context"]
    is_there = tf.cast(target > 0, tf.float32)[:, :, tf.newaxis]  # [B, 1, 1]
    is_true = tf.one_hot(0, context.shape[1])[tf.newaxis, tf.newaxis]  # [1, 1, R]
    return Pairs(
        targets=target,
        contexts=context,
        labels=is_there * is_true,
        weights=is_there * tf.ones_like(is_true),
        num_skip_grams=tf.reduce_sum(is_there),
    )


class SkipGram(keras.Model):
    """Two tables, [V, D] each: the target embeddings, which are the result, and the context embeddings.

    Args:
        vocab_size: V.
        embedding_dim: D.
        window_size: w of the blocks.
        num_negatives: negative samples per skip-gram.
        objective: negative_sampling, a logistic loss for the context word and for each negative sample; or softmax,
            for pairs alone: cross-entropy over the context word and its negative samples, as in the tutorial.
        initialization: word2vec, targets uniform in +-0.5/D and contexts 0 as in word2vec.c; or keras, both uniform in
            +-0.05 as keras.layers.Embedding's, and so the tutorial's.
        seed: of the initial embeddings.
    """

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        window_size: int,
        num_negatives: int,
        objective: str = "negative_sampling",
        initialization: str = "word2vec",
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.embedding_dim = embedding_dim
        self.window_size = window_size
        self.num_negatives = num_negatives
        self.objective = objective
        self.initialization = initialization
        self.seed = seed
        limits = {"word2vec": (0.5 / embedding_dim, 0.0), "keras": (0.05, 0.05)}[initialization]
        self.target_embeddings, self.context_embeddings = (
            self.add_weight(
                shape=(vocab_size, embedding_dim),
                initializer=keras.initializers.RandomUniform(-limit, limit, seed=seed + table) if limit else "zeros",
                name=name,
            )
            for table, (name, limit) in enumerate(zip(("target_embeddings", "context_embeddings"), limits, strict=True))
        )
        # float64, as the sum over an epoch outgrows what float32 counts exactly.
        self.loss_per_skip_gram = keras.metrics.Mean(name="loss", dtype="float64")
        # The share of pairs whose true context word has the largest logit.
        self.accuracy = keras.metrics.Mean(name="accuracy", dtype="float64")
        self.built = True

    def call(self, targets: tf.Tensor, contexts: tf.Tensor) -> tf.Tensor:
        """The logits [B, S, R] of targets [B, S] against contexts [B, R]."""
        return tf.einsum(
            "bse,bre->bsr",
            tf.gather(self.target_embeddings.value, targets),
            tf.gather(self.context_embeddings.value, contexts),
        )

    def train_step(self, data):
        """One step on a batch of examples.

        RowwiseAdagrad gets the gradient of the loss summed over all skip-grams, which is its scale; others that of
        its mean.
        """
        is_pairs = "target" in data
        pairs = expand_pairs(data) if is_pairs else expand_blocks(data, self.window_size, self.num_negatives)
        is_rowwise = getattr(self.optimizer, "is_rowwise", False)
        with tf.GradientTape() as tape:
            logits = self(pairs.targets, pairs.contexts)
            if self.objective == "softmax":
                losses = tf.nn.softmax_cross_entropy_with_logits(labels=pairs.labels, logits=logits)  # [B, 1]
            else:
                losses = pairs.weights * tf.nn.sigmoid_cross_entropy_with_logits(labels=pairs.labels, logits=logits)
            loss = tf.reduce_sum(losses)
            mean_loss = tf.math.divide_no_nan(loss, pairs.num_skip_grams)
        variables = self.trainable_variables
        gradients = tape.gradient(loss if is_rowwise else mean_loss, variables)
        if not is_rowwise:
            # Keras's optimizers take the occurrences of a row one after the other, unless they are added up before.
            gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))

        self.loss_per_skip_gram.update_state(mean_loss, sample_weight=pairs.num_skip_grams)
        logs = {"loss": self.loss_per_skip_gram.result()}
        if is_pairs:
            is_right = tf.cast(tf.argmax(logits, axis=2) == 0, tf.float32) * pairs.weights[:, :, 0]
            share = tf.math.divide_no_nan(tf.reduce_sum(is_right), pairs.num_skip_grams)
            self.accuracy.update_state(share, sample_weight=pairs.num_skip_grams)
            logs["accuracy"] = self.accuracy.result()
        return logs

    def make_train_function(self, force=False):
        """As Keras's, but it also measures how long the step waits for its input, as `input_wait` in the logs."""
        if self.train_function is not None and not force:
            return self.train_function
        step = tf.function(self.train_step, jit_compile=self.jit_compile)

        @tf.function
        def steps(iterator):
            waited = tf.constant(0.0, tf.float64)
            for _ in tf.range(self.steps_per_execution):
                start = tf.timestamp()
                batch = iterator.get_next_as_optional()
                waited += tf.timestamp() - start
                if not batch.has_value():
                    break
                step(batch.get_value())
            logs = {metric.name: metric.result() for metric in self.metrics}
            return {**logs, "input_wait": waited}

        self.train_function = steps
        return steps

    @property
    def metrics(self):
        """The metrics that Keras resets at the start of an epoch."""
        return [self.loss_per_skip_gram, self.accuracy]

    def get_config(self):
        """The arguments, for keras.Model.from_config."""
        return {
            **super().get_config(),
            "vocab_size": self.vocab_size,
            "embedding_dim": self.embedding_dim,
            "window_size": self.window_size,
            "num_negatives": self.num_negatives,
            "objective": self.objective,
            "initialization": self.initialization,
            "seed": self.seed,
        }
