"""The fused step against its oracle, which is the step of TensorFlow's operations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import fused
from trainer.formats import Blocks, Pairs
from trainer.fused import INSTRUCTIONS, FusedStep
from trainer.model import SkipGram
from trainer.optimizer import RowwiseAdagrad

STEPS = 200
# Vocabulary, B, S, N, weights by distance, D. With few words, a negative sample often is one of the target's own
# context words. The second shape has more than 8 blocks in a part, so the loss does not cover all. D, S and N of the
# others are no multiples of a vector's size.
SHAPES = [
    (40, 4, 64, 64, (1.0, 0.8, 0.6, 0.4, 0.2), 128),
    (500, 17, 16, 32, (1.0, 0.5), 48),
    (30, 3, 7, 9, (1.0, 0.5), 13),
    (200, 5, 20, 5, (1.0,) * 9, 100),
    (12, 1, 3, 1, (1.0,), 1),
]

pytestmark = pytest.mark.skipif(
    not fused.is_compiled(), reason="there was no C compiler when the project was installed"
)


def random_batches(vocab_size, batch_size, num_targets, num_negatives, window_size, steps, seed=0):
    """Batches, some of whose targets have no context. The last batch is filled up with empty blocks."""
    rng = np.random.default_rng(seed)
    batches = {
        "tokens": rng.integers(2, vocab_size, (steps, batch_size, num_targets + 2 * window_size)).astype(np.int32),
        "left": rng.integers(0, window_size + 1, (steps, batch_size, num_targets)).astype(np.uint8),
        "right": rng.integers(0, window_size + 1, (steps, batch_size, num_targets)).astype(np.uint8),
        "negatives": rng.integers(2, vocab_size, (steps, batch_size, num_negatives)).astype(np.int32),
    }
    for values in batches.values():
        values[-1, batch_size // 2 :] = 0
    return batches


def make_model(shape, step, **kwargs):
    vocab_size, _, num_targets, _, weights, dimension = shape
    model = SkipGram(vocab_size, dimension, Blocks(num_targets, weights, 5), seed=3, step_kind=step, **kwargs)
    rate = keras.optimizers.schedules.PolynomialDecay(0.05, STEPS, end_learning_rate=0.0)
    model.compile(RowwiseAdagrad(rate), steps_per_execution=7)
    model.optimizer.build(model.trainable_variables)
    return model


def state(model):
    return [variable.numpy() for variable in (*model.trainable_variables, *model.optimizer.accumulators)]


def train(model, batches):
    dataset = tf.data.Dataset.from_tensor_slices(batches)
    history = model.fit(dataset, shuffle=False, verbose=0)
    return history.history["loss"][0]


@pytest.mark.parametrize("shape", SHAPES)
def test_fit_gives_the_same_loss_and_tables_as_tensorflow(shape):
    vocab_size, batch_size, num_targets, num_negatives, weights, _ = shape
    batches = random_batches(vocab_size, batch_size, num_targets, num_negatives, len(weights), STEPS)
    models = {step: make_model(shape, step) for step in ("fused", "tensorflow")}
    start = state(models["fused"])
    losses = {step: train(model, batches) for step, model in models.items()}
    assert losses["fused"] == pytest.approx(losses["tensorflow"], rel=1e-5)
    assert int(models["fused"].optimizer.iterations) == STEPS
    for before, found, expected in zip(start, *map(state, models.values()), strict=True):
        assert np.abs(expected - before).max() > 0.1
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def one_call(shape, batches, **kwargs):
    """The bytes of tables and accumulators after one call, and its sums."""
    model, weights = make_model(shape, "fused"), shape[4]
    tables = [variable.value for variable in model.trainable_variables]
    accumulators = [variable.value for variable in model.optimizer.accumulators]
    step = FusedStep(weights, 5, power=0.4, epsilon=1e-10, **kwargs)
    rates = tf.fill([len(batches["tokens"])], 0.05)
    fields = {name: tf.constant(values.reshape(-1, values.shape[2])) for name, values in batches.items()}
    sums = step(tables, accumulators, fields, rates)
    return b"".join(values.tobytes() for values in state(model)), sums


@pytest.mark.parametrize("shape", SHAPES)
def test_the_bytes_do_not_depend_on_the_number_of_threads(shape):
    vocab_size, batch_size, num_targets, num_negatives, weights, _ = shape
    batches = random_batches(vocab_size, batch_size, num_targets, num_negatives, len(weights), 10)
    first, *others = [one_call(shape, batches, num_threads=threads) for threads in (1, 2, 3, 16)]
    assert all(other == first for other in others)


@pytest.mark.parametrize("shape", SHAPES)
def test_all_kinds_of_instructions_give_the_same_but_for_rounding(shape):
    vocab_size, batch_size, num_targets, num_negatives, weights, _ = shape
    batches = random_batches(vocab_size, batch_size, num_targets, num_negatives, len(weights), 10)
    expected, expected_sums = one_call(shape, batches, instructions="plain")
    for instructions in INSTRUCTIONS:
        try:
            found, sums = one_call(shape, batches, instructions=instructions)
        except ValueError as error:
            assert str(error) == f"the processor has no {instructions}"  # noqa: PT017
            continue
        assert sums == pytest.approx(expected_sums, rel=1e-5)
        found, expected_values = np.frombuffer(found, np.float32), np.frombuffer(expected, np.float32)
        np.testing.assert_allclose(found, expected_values, rtol=1e-3, atol=1e-5)


def test_large_logits_give_finite_gradients_and_a_diverged_table_is_seen():
    """e^100 is no float32, so the logits are limited. Numbers that are none must not be hidden by that."""
    shape = SHAPES[2]
    model = make_model(shape, "fused")
    batches = random_batches(*shape[:4], 2, 1)
    for variable in model.trainable_variables:
        variable.assign(tf.fill(variable.shape, 10.0))
    assert np.isfinite(train(model, batches))
    assert all(np.isfinite(values).all() for values in state(model))
    model.context_embeddings.assign(tf.fill(model.context_embeddings.shape, np.nan))
    assert np.isnan(train(model, batches))
    assert np.isnan(model.target_embeddings.numpy()).any()


def test_tables_whose_rows_have_been_read_or_written_by_themselves_are_trained_in_place():
    """TensorFlow would then give a copy to whoever reads the variable, and the copy would be trained."""
    model = make_model(SHAPES[0], "fused")
    for variable in model.trainable_variables:
        tf.gather(variable.value, [1, 2])
        tf.raw_ops.ResourceStridedSliceAssign(
            ref=variable.value.handle, begin=[3], end=[4], strides=[1], value=tf.ones([1, 128])
        )
    before = state(model)
    train(model, random_batches(*SHAPES[0][:4], 5, 2))
    assert all((a != b).any() for a, b in zip(before, state(model), strict=True))


def test_what_the_fused_step_does_not_cover_is_trained_by_tensorflow():
    pairs = SkipGram(20, 4, Pairs())
    pairs.compile(RowwiseAdagrad(0.1))
    assert pairs.obstacle == "it trains on blocks, but the dataset holds pairs"
    adam = SkipGram(20, 4, Blocks(6, (1.0,), 5))
    adam.compile(keras.optimizers.Adam(0.1))
    assert adam.obstacle == "it needs --optimizer rowwise_adagrad"
    assert not pairs.is_fused
    assert not adam.is_fused
