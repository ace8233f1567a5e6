"""The model against plain loops over the definition of a block."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.model import SkipGram, expand_blocks
from trainer.optimizer import RowwiseAdagrad

VOCAB_SIZE = 12  # small, so that negatives often are the target's own context


def random_blocks(num_blocks, num_targets, window_size, num_negatives, seed):
    rng = np.random.default_rng(seed)
    return {
        "tokens": rng.integers(2, VOCAB_SIZE, (num_blocks, num_targets + 2 * window_size)).astype(np.int32),
        "left": rng.integers(0, window_size + 1, (num_blocks, num_targets)).astype(np.uint8),
        "right": rng.integers(0, window_size + 1, (num_blocks, num_targets)).astype(np.uint8),
        "negatives": rng.integers(2, VOCAB_SIZE, (num_blocks, num_negatives)).astype(np.int32),
    }


def naive_pairs(blocks, window_size, negatives_per_skip_gram):
    """(target, context, label, weight) by loops."""
    pairs = []
    for tokens, left, right, negatives in zip(
        *(blocks[n] for n in ("tokens", "left", "right", "negatives")), strict=True
    ):
        for i in range(len(left)):
            target = int(tokens[window_size + i])
            own = [int(tokens[window_size + i + d]) for d in range(-int(left[i]), int(right[i]) + 1) if d != 0]
            pairs += [(target, context, 1, 1.0) for context in own]
            weight = len(own) * negatives_per_skip_gram / len(negatives)
            pairs += [(target, int(n), 0, weight) for n in negatives if int(n) not in own and weight]
    return pairs


CASES = [(1, 1, 1, 1), (2, 5, 2, 3), (3, 8, 5, 16), (1, 16, 3, 4)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", CASES)
def test_expanded_pairs_are_those_of_the_definition(shape, seed):
    num_blocks, num_targets, window_size, num_negatives = shape
    blocks = random_blocks(num_blocks, num_targets, window_size, num_negatives, seed)
    pairs = expand_blocks({k: tf.constant(v) for k, v in blocks.items()}, window_size, num_negatives=5)
    shape = (num_blocks, num_targets, num_targets + 2 * window_size + num_negatives)
    assert pairs.weights.shape == pairs.labels.shape == shape
    found = []
    for b, s, r in np.argwhere(pairs.weights.numpy() > 0):
        found.append((
            int(pairs.targets[b, s]), int(pairs.contexts[b, r]), int(pairs.labels[b, s, r]),
            float(pairs.weights[b, s, r]),
        ))  # fmt: skip
    expected = naive_pairs(blocks, window_size, 5)
    np.testing.assert_allclose(np.array(sorted(found)), np.array(sorted(expected)), rtol=1e-6)
    assert float(pairs.num_skip_grams) == sum(label for _, _, label, _ in expected)


def make_model(window_size=2, rate=0.1, jit_compile=True, **kwargs):
    model = SkipGram(VOCAB_SIZE, 4, window_size, 5, seed=3)
    model.compile(RowwiseAdagrad(rate), jit_compile=jit_compile, **kwargs)
    rng = np.random.default_rng(0)
    model.target_embeddings.assign(rng.normal(size=(VOCAB_SIZE, 4)))
    model.context_embeddings.assign(rng.normal(size=(VOCAB_SIZE, 4)))
    return model


def naive_step(targets, contexts, blocks, window_size, rate):
    """The loss per skip-gram, and both tables after one step of row-wise Adagrad, in float64."""
    gradients = {"targets": [], "contexts": []}
    loss, num_skip_grams = 0.0, 0
    for target, context, label, weight in naive_pairs(blocks, window_size, 5):
        logit = targets[target] @ contexts[context]
        probability = 1 / (1 + np.exp(-logit))
        loss -= weight * np.log(probability if label else 1 - probability)
        num_skip_grams += label
        slope = weight * (probability - label)
        gradients["targets"].append((target, slope * contexts[context]))
        gradients["contexts"].append((context, slope * targets[target]))
    return loss / num_skip_grams, gradients


def test_loss_and_gradients_are_those_of_the_definition():
    blocks = random_blocks(2, 6, 2, 3, seed=1)
    model = make_model()
    targets, contexts = model.target_embeddings.numpy(), model.context_embeddings.numpy()
    loss, gradients = naive_step(targets.astype(np.float64), contexts.astype(np.float64), blocks, 2, 0.1)

    tensors = {k: tf.constant(v) for k, v in blocks.items()}
    pairs = expand_blocks(tensors, 2, 5)
    with tf.GradientTape() as tape:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(pairs.labels, model(pairs.targets, pairs.contexts))
        total = tf.reduce_sum(losses * pairs.weights)
    found = tape.gradient(total, [model.target_embeddings.value, model.context_embeddings.value])
    for slices, name in zip(found, ("targets", "contexts"), strict=True):
        expected = np.zeros((VOCAB_SIZE, 4))
        for row, gradient in gradients[name]:
            expected[row] += gradient
        np.testing.assert_allclose(tf.convert_to_tensor(slices), expected, rtol=1e-4, atol=1e-5)

    logs = tf.function(model.train_step, jit_compile=True)(tensors)
    assert float(logs["loss"]) == pytest.approx(loss, rel=1e-5)


def test_a_step_changes_only_the_rows_that_it_uses():
    blocks = random_blocks(1, 4, 1, 2, seed=2)
    blocks["tokens"][:] = [[2, 3, 2, 3, 2, 3]]
    blocks["left"][:] = blocks["right"][:] = 1
    blocks["negatives"][:] = [[5, 6]]
    model = make_model(window_size=1)
    before = [variable.numpy() for variable in model.trainable_variables]
    model.train_step({k: tf.constant(v) for k, v in blocks.items()})
    changed = [
        set(np.flatnonzero((old != variable.numpy()).any(axis=1)))
        for old, variable in zip(before, model.trainable_variables, strict=True)
    ]
    assert changed == [{2, 3}, {2, 3, 5, 6}]


def test_empty_blocks_train_nothing():
    blocks = {k: np.zeros_like(v) for k, v in random_blocks(2, 4, 2, 3, seed=0).items()}
    model = make_model()
    before = [variable.numpy() for variable in model.trainable_variables]
    logs = model.train_step({k: tf.constant(v) for k, v in blocks.items()})
    assert float(logs["loss"]) == 0
    for old, variable in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_compiled_and_eager_steps_agree():
    blocks = {k: tf.constant(v) for k, v in random_blocks(3, 8, 2, 4, seed=4).items()}
    models = [make_model(), make_model()]
    for model, jit_compile in zip(models, (True, False), strict=True):
        step = tf.function(model.train_step, jit_compile=jit_compile)
        for _ in range(3):
            step(blocks)
    for a, b in zip(models[0].trainable_variables, models[1].trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps_per_execution", [1, 4, 16])
def test_fit_runs_every_batch_whatever_the_steps_per_execution(steps_per_execution):
    blocks = random_blocks(6 * 2, 4, 2, 3, seed=5)
    batches = tf.data.Dataset.from_tensor_slices(blocks).batch(2, drop_remainder=True)
    model = make_model(steps_per_execution=steps_per_execution)
    logs = model.fit(batches, steps_per_epoch=6, epochs=1, verbose=0, shuffle=False).history
    assert int(model.optimizer.iterations) == 6
    reference = make_model()
    step = tf.function(reference.train_step, jit_compile=True)
    for batch in batches:
        expected = step(batch)["loss"]
    assert logs["loss"][0] == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_array_equal(model.target_embeddings.numpy(), reference.target_embeddings.numpy())


def test_the_loss_is_a_mean_over_the_epoch_that_float32_could_not_hold():
    model = make_model()
    model.loss_per_skip_gram.update_state(1.0, sample_weight=2.0**30)
    model.loss_per_skip_gram.update_state(3.0, sample_weight=1.0)
    assert float(model.loss_per_skip_gram.count) == 2**30 + 1
    assert float(model.loss_per_skip_gram.result()) == pytest.approx((2**30 + 3) / (2**30 + 1), rel=1e-12)


def test_initial_embeddings_are_word2vecs():
    model = SkipGram(1000, 50, 5, 5, seed=7)
    targets = model.target_embeddings.numpy()
    assert abs(targets).max() <= 0.5 / 50
    assert targets.std() == pytest.approx(1 / 50 / np.sqrt(12), rel=0.02)
    assert not model.context_embeddings.numpy().any()
    np.testing.assert_array_equal(targets, SkipGram(1000, 50, 5, 5, seed=7).target_embeddings.numpy())


def test_config_round_trip():
    model = SkipGram(100, 8, 3, 4, seed=9)
    copy = SkipGram.from_config(model.get_config())
    assert copy.get_config() == model.get_config()
    np.testing.assert_array_equal(copy.target_embeddings.numpy(), model.target_embeddings.numpy())
    assert isinstance(copy, keras.Model)
