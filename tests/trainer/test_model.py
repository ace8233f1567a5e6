"""The model against plain loops over the definition of a block."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.model import SkipGram, expand_blocks, expand_pairs
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


def test_pairs_are_expanded_to_one_target_each():
    pairs = expand_pairs({"target": tf.constant([5, 0, 7]), "context": tf.constant([[2, 3, 4], [0, 0, 0], [9, 8, 6]])})
    assert pairs.targets.numpy().tolist() == [[5], [0], [7]]
    assert pairs.labels.numpy().tolist() == [[[1, 0, 0]], [[0, 0, 0]], [[1, 0, 0]]]
    assert pairs.weights.numpy().tolist() == [[[1, 1, 1]], [[0, 0, 0]], [[1, 1, 1]]]
    assert float(pairs.num_skip_grams) == 2


@pytest.mark.parametrize("objective", ["softmax", "negative_sampling"])
def test_loss_and_accuracy_of_pairs_are_those_of_the_definition(objective):
    rng = np.random.default_rng(1)
    target, context = rng.integers(2, VOCAB_SIZE, 9), rng.integers(2, VOCAB_SIZE, (9, 5))
    target[-1] = context[-1] = 0  # a batch that was filled up
    model = make_model(objective=objective)
    targets, contexts = model.target_embeddings.numpy(), model.context_embeddings.numpy()
    losses, right = [], []
    for t, row in zip(target[:-1], context[:-1], strict=True):
        logits = contexts[row].astype(np.float64) @ targets[t]
        if objective == "softmax":
            losses.append(np.log(np.exp(logits).sum()) - logits[0])
        else:
            losses.append(np.log1p(np.exp(-logits[0])) + np.log1p(np.exp(logits[1:])).sum())
        right.append(logits.argmax() == 0)

    batch = {"target": tf.constant(target, tf.int32), "context": tf.constant(context, tf.int32)}
    logs = tf.function(model.train_step, jit_compile=True)(batch)
    assert float(logs["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(logs["accuracy"]) == pytest.approx(np.mean(right))


def test_adam_gets_the_mean_gradient_with_the_occurrences_of_a_row_added_up():
    batch = {"target": tf.constant([2, 2, 3]), "context": tf.constant([[4, 5], [4, 6], [7, 4]])}
    model, reference = (make_model(objective="softmax", optimizer=keras.optimizers.Adam(0.1)) for _ in range(2))
    for _ in range(2):
        tf.function(model.train_step, jit_compile=True)(batch)
        with tf.GradientTape() as tape:
            targets, contexts = (variable.value for variable in reference.trainable_variables)
            rows = tf.gather(targets, batch["target"])[:, tf.newaxis] * tf.gather(contexts, batch["context"])
            logits = tf.reduce_sum(rows, axis=-1)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.zeros(3, tf.int32), logits))
        dense = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, [targets, contexts])]
        reference.optimizer.apply_gradients(zip(dense, reference.trainable_variables, strict=True))
    for a, b in zip(model.trainable_variables, reference.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def make_model(window_size=2, jit_compile=True, objective="negative_sampling", optimizer=None, **kwargs):
    model = SkipGram(VOCAB_SIZE, 4, window_size, 5, objective, seed=3)
    model.compile(optimizer or RowwiseAdagrad(0.1), jit_compile=jit_compile, **kwargs)
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


def test_initial_embeddings_may_be_kerass():
    model = SkipGram(1000, 50, 5, 5, initialization="keras", seed=7)
    targets, contexts = model.target_embeddings.numpy(), model.context_embeddings.numpy()
    for table in (targets, contexts):
        assert 0.049 < abs(table).max() <= 0.05
        assert table.std() == pytest.approx(0.1 / np.sqrt(12), rel=0.02)
    assert abs(np.corrcoef(targets.ravel(), contexts.ravel())[0, 1]) < 0.03


def test_config_round_trip():
    model = SkipGram(100, 8, 3, 4, "softmax", "keras", seed=9)
    copy = SkipGram.from_config(model.get_config())
    assert copy.get_config() == model.get_config()
    np.testing.assert_array_equal(copy.target_embeddings.numpy(), model.target_embeddings.numpy())
    assert isinstance(copy, keras.Model)
