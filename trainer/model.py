"""SkipGram (Mikolov et al. 2013): two embedding tables, and the step that trains them on a batch of examples."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainer.formats import ExampleFormat, format_from_config
from trainer.losses import Loss


class Step(NamedTuple):
    """What a step adds to the metrics, [] float64 each. trainer.losses.Loss has the same fields."""

    loss: tf.Tensor
    num_skip_grams: tf.Tensor
    num_right: tf.Tensor


class SkipGram(keras.Model):
    """Two tables, [V, D] each: the target embeddings, which are the result, and the context embeddings.

    Args:
        vocab_size: V.
        embedding_dim: D.
        example_format: the format of the examples that the model is trained on.
        loss: negative_sampling is a logistic loss for the context word and for each negative sample. softmax is the
            cross-entropy over the context word and its negative samples, as in the tutorial; it needs pairs.
        initialization: with word2vec, target embeddings are uniform in +-0.5/D and context embeddings are 0, as in
            word2vec.c. With keras, both are uniform in +-0.05, as in keras.layers.Embedding and so in the tutorial.
        seed: the seed of the initial embeddings.
        **kwargs: as for every keras.Model.

    Raises:
        ValueError: the format does not have that loss.
    """

    train_function: Callable[[tf.data.Iterator], dict[str, tf.Tensor]] | None

    def __init__(
        self,
        vocab_size: int,
        embedding_dim: int,
        example_format: ExampleFormat,
        loss: str = "negative_sampling",
        initialization: str = "word2vec",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if loss not in example_format.losses:
            raise ValueError(f"loss {loss!r}: {example_format.name} have {' or '.join(example_format.losses)}")
        self.vocab_size = vocab_size
        self.embedding_dim = embedding_dim
        self.example_format = example_format
        self.loss_name = loss  # Keras has an attribute `loss`, which compile() overwrites
        self.initialization = initialization
        self.seed = seed
        self._loss_function = example_format.loss_function(loss)
        limits = {"word2vec": (0.5 / embedding_dim, 0.0), "keras": (0.05, 0.05)}[initialization]
        self.target_embeddings, self.context_embeddings = (
            self.add_weight(
                shape=(vocab_size, embedding_dim),
                initializer=keras.initializers.RandomUniform(-limit, limit, seed=seed + table) if limit else "zeros",
                name=name,
            )
            for table, (name, limit) in enumerate(zip(("target_embeddings", "context_embeddings"), limits, strict=True))
        )
        # Metrics are float64, as float32 cannot hold the sum over an epoch exactly.
        self.loss_per_skip_gram = keras.metrics.Mean(name="loss", dtype="float64")
        # The accuracy is the share of examples whose true context word has the largest logit.
        self.accuracy = keras.metrics.Mean(name="accuracy", dtype="float64")
        self.built = True

    def call(self, targets: tf.Tensor, contexts: tf.Tensor) -> tf.Tensor:
        """The logits [B, S, R] of targets [B, S] and context words [B, R]: the products of their embeddings."""
        return tf.matmul(
            tf.gather(self.target_embeddings.value, targets),
            tf.gather(self.context_embeddings.value, contexts),
            transpose_b=True,
        )

    def gradients(self, examples: dict[str, tf.Tensor]) -> tuple[Loss, list[tf.IndexedSlices]]:
        """Computes the loss of a batch and its gradients by the rows of both tables.

        A row that occurs several times in the batch has a gradient for each occurrence.

        Args:
            examples: a batch in the model's example format.

        Returns:
            The loss, and the gradients [of the target embeddings, of the context embeddings].
        """
        target_ids, context_ids = self.example_format.ids(examples)
        targets = tf.gather(self.target_embeddings.value, target_ids)
        contexts = tf.gather(self.context_embeddings.value, context_ids)
        loss = self._loss_function(examples, tf.matmul(targets, contexts, transpose_b=True))
        return loss, [
            _occurrences(tf.matmul(loss.gradient, contexts), target_ids, self.target_embeddings),
            _occurrences(tf.matmul(loss.gradient, targets, transpose_a=True), context_ids, self.context_embeddings),
        ]

    def step(self, examples: dict[str, tf.Tensor]) -> Step:
        """Trains on a batch of examples.

        With RowwiseAdagrad, the batch is cut into two halves. Their gradients are computed side by side from the same
        tables, so that two cores are busy. They are then applied one after the other, so that the result is always the
        same. They are the gradients of the loss summed over all skip-grams. Other optimizers get the gradients of the
        mean loss.
        """
        if getattr(self.optimizer, "is_rowwise", False):
            losses, gradients = zip(*[self.gradients(half) for half in _halves(examples)], strict=True)
            self.optimizer.apply_in_turn(gradients, self.trainable_variables)
        else:
            # Keras's optimizers would apply the occurrences of a row one by one, so they are added up here.
            loss, slices = self.gradients(examples)
            scale = tf.math.divide_no_nan(1.0, loss.num_skip_grams)
            dense = [scale * tf.convert_to_tensor(gradient) for gradient in slices]
            self.optimizer.apply_gradients(zip(dense, self.trainable_variables, strict=True))
            losses = (loss,)
        return Step(*(tf.cast(tf.add_n([getattr(loss, name) for loss in losses]), tf.float64) for name in Step._fields))

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Trains on a batch of examples and returns the metrics, as Keras expects it."""
        return self._update_metrics(self.step(data))

    def _update_metrics(self, step: Step) -> dict[str, tf.Tensor]:
        """Adds one step, or the sum of several, to the metrics. Returns their values for the epoch so far."""
        mean_loss = tf.math.divide_no_nan(step.loss, step.num_skip_grams)
        self.loss_per_skip_gram.update_state(mean_loss, sample_weight=step.num_skip_grams)
        logs = {"loss": self.loss_per_skip_gram.result()}
        if self.example_format.has_accuracy:
            share_right = tf.math.divide_no_nan(step.num_right, step.num_skip_grams)
            self.accuracy.update_state(share_right, sample_weight=step.num_skip_grams)
            logs["accuracy"] = self.accuracy.result()
        return logs

    def make_train_function(self, force: bool = False) -> Callable[[tf.data.Iterator], dict[str, tf.Tensor]]:
        """Makes the function with which Keras runs `steps_per_execution` steps.

        Unlike Keras's own, it also measures the seconds that the steps wait for their input: `input_wait` in the logs.
        """
        if self.train_function is not None and not force:
            return self.train_function
        step = tf.function(self.step, jit_compile=self.jit_compile)

        def steps(iterator: tf.data.Iterator) -> dict[str, tf.Tensor]:
            waited = tf.constant(0.0, tf.float64)
            total = Step(*[tf.constant(0.0, tf.float64)] * 3)
            for _ in tf.range(self.steps_per_execution):
                start = tf.timestamp()
                batch = iterator.get_next_as_optional()
                waited += tf.timestamp() - start
                if not batch.has_value():
                    break
                total = tf.nest.map_structure(tf.add, total, step(batch.get_value()))
            return {**self._update_metrics(total), "input_wait": waited}

        train_function: Callable[[tf.data.Iterator], dict[str, tf.Tensor]] = tf.function(steps)
        self.train_function = train_function
        return train_function

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics, which Keras resets at the start of an epoch."""
        return [self.loss_per_skip_gram, self.accuracy]

    def get_config(self) -> dict[str, Any]:
        """The arguments, for from_config."""
        return {
            **super().get_config(),
            "vocab_size": self.vocab_size,
            "embedding_dim": self.embedding_dim,
            "example_format": self.example_format.get_config(),
            "loss": self.loss_name,
            "initialization": self.initialization,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "SkipGram":
        """Makes the model that get_config has described."""
        return cls(**{**config, "example_format": format_from_config(config["example_format"])})


def _occurrences(gradient: tf.Tensor, ids: tf.Tensor, table: keras.Variable) -> tf.IndexedSlices:
    """The gradient [B, R, D] of the rows that have the ids [B, R]."""
    return tf.IndexedSlices(tf.reshape(gradient, [-1, gradient.shape[-1]]), tf.reshape(ids, [-1]), table.shape)


def _halves(examples: dict[str, tf.Tensor]) -> list[dict[str, tf.Tensor]]:
    """The two halves of a batch. A batch of one example is returned as it is."""
    size = next(iter(examples.values())).shape[0]
    if size < 2:
        return [examples]
    halves = (slice(size // 2), slice(size // 2, None))
    return [{name: value[half] for name, value in examples.items()} for half in halves]
