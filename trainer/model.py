"""SkipGram (Mikolov et al. 2013): two embedding tables, and the step that trains them on a batch of examples."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainer import fused
from trainer.columns import Columns
from trainer.formats import Blocks, ExampleFormat, format_from_config
from trainer.fused import FusedStep
from trainer.initialization import fill
from trainer.losses import Loss
from trainer.optimizer import RowwiseAdagrad
from trainer.train_function import Run, batches_of_calls, run_on_cpu, run_on_gpu, run_outside, steps_of_calls


class Step(NamedTuple):
    """What a step adds to the metrics, [] float64 each. trainer.losses.Loss has the same fields."""

    loss: tf.Tensor
    num_skip_grams: tf.Tensor
    num_right: tf.Tensor


class Rows(NamedTuple):
    """The rows of the tables that a batch of B examples uses, d columns of each, and the products of these columns."""

    target_ids: tf.Tensor  # [B, S] int32
    context_ids: tf.Tensor  # [B, R] int32
    targets: tf.Tensor  # [B, S, d] float32
    contexts: tf.Tensor  # [B, R, d] float32
    products: tf.Tensor  # [B, S, R] float32, whose sums over all columns are the logits


class SkipGram(keras.Model):
    """Two tables, [V, D] each: the target embeddings, which are the result, and the context embeddings.

    If several processes train together, each has a model that holds some of the columns, see trainer.columns.

    Args:
        vocab_size: V.
        embedding_dim: D.
        example_format: the format of the examples that the model is trained on.
        loss: negative_sampling is a logistic loss for the context word and for each negative sample. softmax is the
            cross-entropy over the context word and its negative samples, as in the tutorial; it needs pairs.
        initialization: with word2vec, target embeddings are uniform in +-0.5/D and context embeddings are 0, as in
            word2vec.c. With keras, both are uniform in +-0.05, as in keras.layers.Embedding and so in the tutorial.
        seed: the seed of the initial embeddings.
        columns: the columns that this process holds; None for all.
        step_kind: how fit computes a step: "fused" is trainer.fused; "tensorflow" is the method `step`; "auto" is fused
            where it can be used and is faster.
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
        columns: Columns | None = None,
        step_kind: str = "auto",
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
        self.columns = columns or Columns.whole(embedding_dim)
        self.step_kind = step_kind
        self._compiled_apply_mean = tf.function(self._apply_mean, jit_compile=True)
        self.gpu = next((device.name for device in tf.config.list_logical_devices("GPU")), "")
        # Outside of compiled functions, TensorFlow slices int32, and so ids, in the memory of the CPU.
        self._find_rows = tf.function(self._rows, jit_compile=True) if self.gpu else self._rows
        self._loss_function = example_format.loss_function(loss)
        limits = {"word2vec": (0.5 / embedding_dim, 0.0), "keras": (0.05, 0.05)}[initialization]
        self.target_embeddings, self.context_embeddings = (
            self.add_weight(shape=(vocab_size, self.columns.width), initializer="zeros", name=name)
            for name in ("target_embeddings", "context_embeddings")
        )
        for number, (table, limit) in enumerate(zip(self.trainable_variables, limits, strict=True)):
            if limit:
                fill(table.value, limit, seed + number, self.columns)
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
        ((loss, gradients),) = self._gradients([examples])
        return loss, gradients

    def _gradients(self, parts: list[dict[str, tf.Tensor]]) -> list[tuple[Loss, list[tf.IndexedSlices]]]:
        """The losses of the parts of a batch, and their gradients by the same tables."""
        rows = [self._find_rows(examples) for examples in parts]
        logits = self.columns.add_up([each.products for each in rows])
        return [self._backward(*part) for part in zip(parts, rows, logits, strict=True)]

    def _rows(self, examples: dict[str, tf.Tensor]) -> Rows:
        target_ids, context_ids = self.example_format.ids(examples)
        targets = tf.gather(self.target_embeddings.value, target_ids)
        contexts = tf.gather(self.context_embeddings.value, context_ids)
        return Rows(target_ids, context_ids, targets, contexts, tf.matmul(targets, contexts, transpose_b=True))

    def _backward(
        self, examples: dict[str, tf.Tensor], rows: Rows, logits: tf.Tensor
    ) -> tuple[Loss, list[tf.IndexedSlices]]:
        loss = self._loss_function(examples, logits)
        return loss, [
            _occurrences(tf.matmul(loss.gradient, rows.contexts), rows.target_ids, self.target_embeddings),
            _occurrences(
                tf.matmul(loss.gradient, rows.targets, transpose_a=True), rows.context_ids, self.context_embeddings
            ),
        ]

    def step(self, examples: dict[str, tf.Tensor]) -> Step:
        """Trains on a batch of examples.

        With RowwiseAdagrad, the batch is cut into two halves on a CPU. Their gradients are computed side by side from
        the same tables, so that two cores are busy. They are then applied one after the other, so that the result is
        always the same. They are the gradients of the loss summed over all skip-grams. Other optimizers get the
        gradients of the mean loss.
        """
        if getattr(self.optimizer, "is_rowwise", False):
            parts = [examples] if self.gpu else _halves(examples)
            losses, gradients = zip(*self._gradients(parts), strict=True)
            self.optimizer.apply_in_turn(gradients, self.trainable_variables)
        else:
            rows = self._find_rows(examples)
            (logits,) = self.columns.add_up([rows.products])
            # Where the processes add up products, the step cannot be compiled as a whole, but this part of it can.
            apply = self._apply_mean if self.columns.is_whole else self._compiled_apply_mean
            losses = (apply(examples, rows, logits),)
        return Step(*(tf.cast(tf.add_n([getattr(loss, name) for loss in losses]), tf.float64) for name in Step._fields))

    def _apply_mean(self, examples: dict[str, tf.Tensor], rows: Rows, logits: tf.Tensor) -> Loss:
        """Applies the gradients of the mean loss with one of Keras's optimizers."""
        loss, slices = self._backward(examples, rows, logits)
        scale = tf.math.divide_no_nan(1.0, loss.num_skip_grams)
        # Keras's optimizers would apply the occurrences of a row one by one, so they are added up here.
        dense = [scale * tf.convert_to_tensor(gradient) for gradient in slices]
        self.optimizer.apply_gradients(zip(dense, self.trainable_variables, strict=True))
        return loss

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

    def fit(self, x: tf.data.Dataset, **kwargs: Any) -> keras.callbacks.History:
        """Trains as every Keras model does. The number of batches is steps_per_epoch, or what the dataset says."""
        num_steps, steps_per_call = (
            kwargs.pop("steps_per_epoch", None) or int(x.cardinality()),
            int(self.steps_per_execution),
        )
        self._steps_of_calls = steps_of_calls(num_steps, steps_per_call)
        if self.is_fused:
            x = batches_of_calls(x, num_steps, steps_per_call)
        return super().fit(x, steps_per_epoch=num_steps, **kwargs)

    def make_train_function(self, force: bool = False) -> Callable[[tf.data.Iterator], dict[str, tf.Tensor]]:
        """Makes the function with which Keras runs `steps_per_execution` steps.

        Unlike Keras's own, it also measures the seconds that the steps wait for their input: `input_wait` in the logs.
        The logs also have the number of `steps`, as the batches that Keras tells the callbacks go beyond the epoch.
        It knows how many steps are left in the epoch, as looking for the end of the input in the graph does not go
        together with sums over several processes (TensorFlow 2.21).
        """
        if self.train_function is not None and not force:
            return self.train_function
        run, update_metrics = self._run(), tf.function(self._update_metrics, autograph=False)

        def train_function(iterator: tf.data.Iterator) -> dict[str, tf.Tensor]:
            num_steps = next(self._steps_of_calls)
            sums, waited = run(iterator, tf.constant(num_steps))
            return {**update_metrics(sums), "input_wait": waited, "steps": num_steps}

        self.train_function = train_function
        return train_function

    def _run(self) -> Run:
        """Makes the function that runs several steps, see trainer.train_function."""
        if self.is_fused:
            return run_outside(self._fused_step(), self.optimizer.advance)
        # A GPU takes longest to start operations, and there are fewest if the step is compiled as a whole.
        jit_compile = self.columns.is_whole and (self.jit_compile or bool(self.gpu))
        step = tf.function(self.step, jit_compile=jit_compile)
        no_sums = Step(*[tf.constant(0.0, tf.float64)] * len(Step._fields))
        return run_on_gpu(step, no_sums, self.gpu) if self.gpu else run_on_cpu(step, no_sums)

    @property
    def obstacle(self) -> str | None:
        """Why the fused step cannot train this model, which has been compiled; None if it can."""
        if self.gpu:
            return "it needs a CPU, but there is a GPU"
        if not self.columns.is_whole:
            return "it trains on one device"
        if not isinstance(self.example_format, Blocks):
            return f"it trains on blocks, but the dataset holds {self.example_format.name}"
        if not isinstance(self.optimizer, RowwiseAdagrad):
            return "it needs --optimizer rowwise_adagrad"
        return None if fused.is_compiled() else fused.NOT_COMPILED

    @property
    def is_fused(self) -> bool:
        """Whether the fused step trains this model, which has been compiled."""
        if self.step_kind == "auto":
            return self.obstacle is None and fused.is_fast()
        return self.step_kind == "fused"

    def _fused_step(self) -> Callable[[dict[str, tf.Tensor], tf.Tensor], Step]:
        """The fused step: it trains on n batches, [n B], with their learning rates, [n]."""
        example_format, optimizer = self.example_format, self.optimizer
        assert isinstance(example_format, Blocks)
        optimizer.build(self.trainable_variables)
        train = FusedStep(
            example_format.context_weights, example_format.num_negatives, optimizer.power, optimizer.epsilon
        )
        tables, accumulators = (
            [variable.value for variable in variables]
            for variables in (self.trainable_variables, optimizer.accumulators)
        )

        def steps(batches: dict[str, tf.Tensor], rates: tf.Tensor) -> Step:
            sums = train(tables, accumulators, batches, rates)
            return Step(*(tf.constant(each, tf.float64) for each in (*sums, 0.0)))

        return steps

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics, which Keras resets at the start of an epoch."""
        return [self.loss_per_skip_gram, self.accuracy]

    def get_config(self) -> dict[str, Any]:
        """The arguments, for from_config, of a model with all columns."""
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
