"""SkipGram (Mikolov et al. 2013): two embedding tables, and the step that trains them on a batch of examples."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from trainer.losses import Loss, blocks_loss, pairs_loss


class Step(NamedTuple):
    """What a step adds to the metrics, [] float64 each: see trainer.losses.Loss."""

    loss: tf.Tensor
    num_skip_grams: tf.Tensor
    num_right: tf.Tensor


class SkipGram(keras.Model):
    """Two tables, [V, D] each: the target embeddings, which are the result, and the context embeddings.

    Args:
        vocab_size: V.
        embedding_dim: D.
        context_weights: what a skip-gram of a block counts, by the distance of its words, 1..w; not used for pairs.
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
        context_weights: Sequence[float],
        num_negatives: int,
        objective: str = "negative_sampling",
        initialization: str = "word2vec",
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.embedding_dim = embedding_dim
        self.context_weights = tuple(context_weights)
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
        return tf.matmul(
            tf.gather(self.target_embeddings.value, targets),
            tf.gather(self.context_embeddings.value, contexts),
            transpose_b=True,
        )

    def gradients(self, examples: dict[str, tf.Tensor]) -> tuple[Loss, list[tf.IndexedSlices]]:
        """The loss of examples and its gradients by the rows of either table, each occurrence of a row apart.

        Args:
            examples: blocks or pairs, as trainer.losses has them.

        Returns:
            The loss, and [target embeddings' gradient, context embeddings' gradient].
        """
        if "target" in examples:
            target_ids, context_ids = examples["target"][:, tf.newaxis], examples["context"]
        else:
            tokens = examples["tokens"]
            window_size = len(self.context_weights)
            target_ids = tokens[:, window_size : tokens.shape[1] - window_size]
            context_ids = tf.concat([tokens, examples["negatives"]], axis=1)
        targets = tf.gather(self.target_embeddings.value, target_ids)
        contexts = tf.gather(self.context_embeddings.value, context_ids)
        logits = tf.matmul(targets, contexts, transpose_b=True)
        if "target" in examples:
            loss = pairs_loss(examples, logits, self.objective)
        else:
            loss = blocks_loss(examples, logits, self.context_weights, self.num_negatives)
        return loss, [
            _occurrences(tf.matmul(loss.gradient, contexts), target_ids, self.target_embeddings),
            _occurrences(tf.matmul(loss.gradient, targets, transpose_a=True), context_ids, self.context_embeddings),
        ]

    def step(self, data: dict[str, tf.Tensor]) -> Step:
        """One step on a batch of examples.

        For RowwiseAdagrad the batch is taken in two halves: the gradients of both are computed side by side from the
        same tables, and then applied one after the other, so that two cores are busy and the result is always the
        same. Its gradients are those of the loss summed over all skip-grams. Other optimizers get those of the mean.
        """
        if getattr(self.optimizer, "is_rowwise", False):
            losses, gradients = zip(*[self.gradients(half) for half in _halves(data)], strict=True)
            self.optimizer.apply_in_turn(gradients, self.trainable_variables)
        else:
            # Keras's optimizers take the occurrences of a row one after the other, unless they are added up before.
            loss, gradients = self.gradients(data)
            scale = tf.math.divide_no_nan(1.0, loss.num_skip_grams)
            dense = [scale * tf.convert_to_tensor(gradient) for gradient in gradients]
            self.optimizer.apply_gradients(zip(dense, self.trainable_variables, strict=True))
            losses = [loss]
        return Step(*(tf.cast(tf.add_n([getattr(loss, name) for loss in losses]), tf.float64) for name in Step._fields))

    def train_step(self, data):
        """One step, as Keras calls it."""
        return self._logs(self.step(data), "target" in data)

    def _logs(self, step: Step, is_pairs: bool) -> dict[str, tf.Tensor]:
        """The metrics of the epoch so far, with a step or several."""
        mean_loss = tf.math.divide_no_nan(step.loss, step.num_skip_grams)
        self.loss_per_skip_gram.update_state(mean_loss, sample_weight=step.num_skip_grams)
        logs = {"loss": self.loss_per_skip_gram.result()}
        if is_pairs:
            share_right = tf.math.divide_no_nan(step.num_right, step.num_skip_grams)
            self.accuracy.update_state(share_right, sample_weight=step.num_skip_grams)
            logs["accuracy"] = self.accuracy.result()
        return logs

    def make_train_function(self, force=False):
        """As Keras's, but it also measures how long the step waits for its input, as `input_wait` in the logs."""
        if self.train_function is not None and not force:
            return self.train_function
        step = tf.function(self.step, jit_compile=self.jit_compile)

        @tf.function
        def steps(iterator):
            waited = tf.constant(0.0, tf.float64)
            total = Step(*[tf.constant(0.0, tf.float64)] * 3)
            for _ in tf.range(self.steps_per_execution):
                start = tf.timestamp()
                batch = iterator.get_next_as_optional()
                waited += tf.timestamp() - start
                if not batch.has_value():
                    break
                total = tf.nest.map_structure(tf.add, total, step(batch.get_value()))
            return {**self._logs(total, "target" in iterator.element_spec), "input_wait": waited}

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
            "context_weights": self.context_weights,
            "num_negatives": self.num_negatives,
            "objective": self.objective,
            "initialization": self.initialization,
            "seed": self.seed,
        }


def _occurrences(gradient: tf.Tensor, ids: tf.Tensor, table: keras.Variable) -> tf.IndexedSlices:
    """Gradient [B, R, D] of the rows with the ids [B, R]."""
    return tf.IndexedSlices(tf.reshape(gradient, [-1, gradient.shape[-1]]), tf.reshape(ids, [-1]), table.shape)


def _halves(data: dict[str, tf.Tensor]) -> list[dict[str, tf.Tensor]]:
    """The two halves of a batch; a batch of one as it is."""
    size = next(iter(data.values())).shape[0]
    if size < 2:
        return [data]
    return [{name: value[half] for name, value in data.items()} for half in (slice(size // 2), slice(size // 2, None))]
