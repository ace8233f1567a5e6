"""The model against plain loops over the definition of a block."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.formats import Blocks, Pairs
from trainer.losses import block_weights, blocks_loss
from trainer.model import SkipGram
from trainer.optimizer import RowwiseAdagrad

VOCAB_SIZE = 12  # small, so that a negative sample often is one of the target's context words
WEIGHTS = (1.0, 0.5)  # of skip-grams, by distance, for a window of 2 words
BLOCKS = Blocks(6, WEIGHTS, 5)


def random_blocks(num_blocks, num_targets, window_size, num_negatives, seed):
    rng = np.random.default_rng(seed)
    return {
        "tokens": rng.integers(2, VOCAB_SIZE, (num_blocks, num_targets + 2 * window_size)).astype(np.int32),
        "left": rng.integers(0, window_size + 1, (num_blocks, num_targets)).astype(np.uint8),
        "right": rng.integers(0, window_size + 1, (num_blocks, num_targets)).astype(np.uint8),
        "negatives": rng.integers(2, VOCAB_SIZE, (num_blocks, num_negatives)).astype(np.int32),
    }


def naive_pairs(blocks, context_weights, negatives_per_skip_gram):
    """The pairs (target, context, label, weight) of blocks, listed by loops."""
    window_size = len(context_weights)
    pairs = []
    for tokens, left, right, negatives in zip(
        *(blocks[n] for n in ("tokens", "left", "right", "negatives")), strict=True
    ):
        for i in range(len(left)):
            target = int(tokens[window_size + i])
            own = [
                (int(tokens[window_size + i + d]), context_weights[abs(d) - 1])
                for d in range(-int(left[i]), int(right[i]) + 1)
                if d != 0
            ]
            pairs += [(target, context, 1, weight) for context, weight in own]
            weight = sum(weight for _, weight in own) * negatives_per_skip_gram / len(negatives)
            words = {context for context, _ in own}
            pairs += [(target, int(n), 0, weight) for n in negatives if int(n) not in words and weight]
    return pairs


CASES = [(1, 1, (1.0,), 1), (2, 5, (1.0, 0.5), 3), (3, 8, (1.0, 0.8, 0.6, 0.4, 0.2), 16), (1, 16, (1.0, 1.0, 1.0), 4)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", CASES)
def test_weights_of_blocks_follow_the_definition(shape, seed):
    num_blocks, num_targets, context_weights, num_negatives = shape
    window_size = len(context_weights)
    blocks = random_blocks(num_blocks, num_targets, window_size, num_negatives, seed)
    weights = block_weights({k: tf.constant(v) for k, v in blocks.items()}, context_weights, num_negatives=5)
    found = []
    for label, values, words in ((1, weights.contexts, blocks["tokens"]), (0, weights.negatives, blocks["negatives"])):
        assert values.shape == (num_blocks, num_targets, words.shape[1])
        for b, s, r in np.argwhere(values.numpy() > 0):
            target = int(blocks["tokens"][b, window_size + s])
            found.append((target, int(words[b, r]), label, float(values[b, s, r])))
    expected = naive_pairs(blocks, context_weights, 5)
    np.testing.assert_allclose(np.array(sorted(found)), np.array(sorted(expected)), rtol=1e-5)
    total = sum(weight for _, _, label, weight in expected if label)
    assert float(tf.reduce_sum(weights.skip_grams)) == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("loss_name", ["softmax", "negative_sampling"])
def test_loss_and_accuracy_of_pairs_follow_the_definition(loss_name):
    rng = np.random.default_rng(1)
    target, context = rng.integers(2, VOCAB_SIZE, 9), rng.integers(2, VOCAB_SIZE, (9, 5))
    target[-1] = context[-1] = 0  # the batch is filled up
    model = make_model(Pairs(), loss=loss_name)
    targets, contexts = model.target_embeddings.numpy(), model.context_embeddings.numpy()
    losses, right = [], []
    for t, row in zip(target[:-1], context[:-1], strict=True):
        logits = contexts[row].astype(np.float64) @ targets[t]
        if loss_name == "softmax":
            losses.append(np.log(np.exp(logits).sum()) - logits[0])
        else:
            losses.append(np.log1p(np.exp(-logits[0])) + np.log1p(np.exp(logits[1:])).sum())
        right.append(logits.argmax() == 0)

    batch = {"target": tf.constant(target, tf.int32), "context": tf.constant(context, tf.int32)}
    logs = tf.function(model.train_step, jit_compile=True)(batch)
    assert float(logs["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(logs["accuracy"]) == pytest.approx(np.mean(right))


def test_adam_gets_the_mean_gradient_and_occurrences_of_a_row_are_added_up():
    batch = {"target": tf.constant([2, 2, 3]), "context": tf.constant([[4, 5], [4, 6], [7, 4]])}
    model, reference = (make_model(Pairs(), loss="softmax", optimizer=keras.optimizers.Adam(0.1)) for _ in range(2))
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


def make_model(example_format=BLOCKS, loss="negative_sampling", optimizer=None, **kwargs):
    """A compiled model with random embeddings."""
    model = SkipGram(VOCAB_SIZE, 4, example_format, loss, seed=3, step_kind="tensorflow")
    model.compile(optimizer or RowwiseAdagrad(0.1), jit_compile=True, **kwargs)
    rng = np.random.default_rng(0)
    model.target_embeddings.assign(rng.normal(size=(VOCAB_SIZE, 4)))
    model.context_embeddings.assign(rng.normal(size=(VOCAB_SIZE, 4)))
    return model


def naive_gradients(targets, contexts, blocks):
    """The loss per skip-gram and its gradients by the rows of both tables, computed in float64."""
    gradients = {"targets": [], "contexts": []}
    loss, num_skip_grams = 0.0, 0
    for target, context, label, weight in naive_pairs(blocks, WEIGHTS, 5):
        logit = targets[target] @ contexts[context]
        probability = 1 / (1 + np.exp(-logit))
        loss -= weight * np.log(probability if label else 1 - probability)
        num_skip_grams += label * weight
        slope = weight * (probability - label)
        gradients["targets"].append((target, slope * contexts[context]))
        gradients["contexts"].append((context, slope * targets[target]))
    return loss / num_skip_grams, gradients


def test_loss_and_gradients_of_blocks_follow_the_definition():
    blocks = random_blocks(2, 6, 2, 3, seed=1)
    model = make_model()
    targets, contexts = model.target_embeddings.numpy(), model.context_embeddings.numpy()
    expected_loss, expected_gradients = naive_gradients(targets.astype(np.float64), contexts.astype(np.float64), blocks)

    tensors = {k: tf.constant(v) for k, v in blocks.items()}
    loss, gradients = model.gradients(tensors)
    assert float(loss.loss / loss.num_skip_grams) == pytest.approx(expected_loss, rel=1e-5)
    for slices, name in zip(gradients, ("targets", "contexts"), strict=True):
        expected = np.zeros((VOCAB_SIZE, 4))
        for row, gradient in expected_gradients[name]:
            expected[row] += gradient
        np.testing.assert_allclose(tf.convert_to_tensor(slices), expected, rtol=1e-4, atol=1e-5)

    assert float(model.train_step(tensors)["loss"]) == pytest.approx(expected_loss, rel=1e-5)


@pytest.mark.parametrize("loss_name", ["softmax", "negative_sampling"])
def test_gradients_of_pairs_equal_those_of_a_gradient_tape(loss_name):
    rng = np.random.default_rng(2)
    target, context = (tf.constant(rng.integers(2, VOCAB_SIZE, shape), tf.int32) for shape in (9, (9, 5)))
    target = tf.concat([target[:-1], [0]], axis=0)  # the batch is filled up
    model = make_model(Pairs(), loss=loss_name)
    with tf.GradientTape() as tape:
        logits = model(target[:, tf.newaxis], context)[:, 0]
        labels = tf.one_hot(tf.zeros_like(target), 5)
        if loss_name == "softmax":
            losses = tf.nn.softmax_cross_entropy_with_logits(labels, logits)
        else:
            losses = tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits), axis=1)
        loss = tf.reduce_sum(tf.where(target > 0, losses, 0))
    variables = [model.target_embeddings.value, model.context_embeddings.value]
    _, found = model.gradients({"target": target, "context": context})
    for a, b in zip(found, tape.gradient(loss, variables), strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(a), tf.convert_to_tensor(b), rtol=1e-4, atol=1e-5)


def test_the_loss_of_many_blocks_is_the_loss_of_every_fourth():
    blocks = {k: tf.constant(v) for k, v in random_blocks(9, 6, 2, 3, seed=3).items()}
    logits = tf.random.stateless_normal([9, 6, 13], [1, 2])
    found = blocks_loss(blocks, logits, WEIGHTS, 5)
    some = blocks_loss({k: v[::4] for k, v in blocks.items()}, logits[::4], WEIGHTS, 5)
    assert float(found.loss) == pytest.approx(float(some.loss), rel=1e-6)
    assert float(found.num_skip_grams) == pytest.approx(float(some.num_skip_grams), rel=1e-6)
    np.testing.assert_allclose(found.gradient[::4], some.gradient, rtol=1e-6)


def test_the_halves_of_a_batch_are_taken_from_the_same_tables_and_applied_in_turn():
    blocks = {k: tf.constant(v) for k, v in random_blocks(5, 6, 2, 3, seed=4).items()}
    model, reference = make_model(), make_model()
    model.train_step(blocks)
    halves = [reference.gradients({k: v[half] for k, v in blocks.items()})[1] for half in (slice(2), slice(2, 5))]
    for half in halves:
        reference.optimizer.apply_gradients(zip(half, reference.trainable_variables, strict=True))
    for a, b in zip(model.trainable_variables, reference.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
    assert int(model.optimizer.iterations) == 1


def test_a_step_changes_only_the_rows_that_it_uses():
    blocks = random_blocks(1, 4, 1, 2, seed=2)
    blocks["tokens"][:] = [[2, 3, 2, 3, 2, 3]]
    blocks["left"][:] = blocks["right"][:] = 1
    blocks["negatives"][:] = [[5, 6]]
    model = make_model(Blocks(4, (1.0,), 5))
    before = [variable.numpy() for variable in model.trainable_variables]
    model.train_step({k: tf.constant(v) for k, v in blocks.items()})
    changed = [
        set(np.flatnonzero((old != variable.numpy()).any(axis=1)))
        for old, variable in zip(before, model.trainable_variables, strict=True)
    ]
    assert changed == [{2, 3}, {2, 3, 5, 6}]


def test_empty_blocks_train_nothing():
    blocks = {k: np.zeros_like(v) for k, v in random_blocks(2, 6, 2, 3, seed=0).items()}
    model = make_model()
    before = [variable.numpy() for variable in model.trainable_variables]
    logs = model.train_step({k: tf.constant(v) for k, v in blocks.items()})
    assert float(logs["loss"]) == 0
    for old, variable in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_compiled_and_eager_steps_agree():
    blocks = {k: tf.constant(v) for k, v in random_blocks(3, 6, 2, 4, seed=4).items()}
    models = [make_model(), make_model()]
    for model, jit_compile in zip(models, (True, False), strict=True):
        step = tf.function(model.train_step, jit_compile=jit_compile)
        for _ in range(3):
            step(blocks)
    for a, b in zip(models[0].trainable_variables, models[1].trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def test_fit_runs_every_batch_for_any_steps_per_execution():
    blocks = random_blocks(6 * 2, 6, 2, 3, seed=5)
    batches = tf.data.Dataset.from_tensor_slices(blocks).batch(2, drop_remainder=True)
    reference = make_model()
    step = tf.function(reference.train_step, jit_compile=True)
    for batch in batches:
        expected = step(batch)["loss"]
    for steps_per_execution in (1, 4, 16):
        model = make_model(steps_per_execution=steps_per_execution)
        logs = model.fit(batches, steps_per_epoch=6, epochs=1, verbose=0, shuffle=False).history
        assert int(model.optimizer.iterations) == 6
        assert logs["loss"][0] == pytest.approx(float(expected), rel=1e-6)
        np.testing.assert_array_equal(model.target_embeddings.numpy(), reference.target_embeddings.numpy())


def test_the_mean_loss_is_exact_beyond_what_float32_can_hold():
    model = make_model()
    model.loss_per_skip_gram.update_state(1.0, sample_weight=2.0**30)
    model.loss_per_skip_gram.update_state(3.0, sample_weight=1.0)
    assert float(model.loss_per_skip_gram.count) == 2**30 + 1
    assert float(model.loss_per_skip_gram.result()) == pytest.approx((2**30 + 3) / (2**30 + 1), rel=1e-12)


def test_initial_embeddings_are_those_of_word2vec_by_default():
    model = SkipGram(1000, 50, Pairs(), seed=7)
    targets = model.target_embeddings.numpy()
    assert abs(targets).max() <= 0.5 / 50
    assert targets.std() == pytest.approx(1 / 50 / np.sqrt(12), rel=0.02)
    assert not model.context_embeddings.numpy().any()
    np.testing.assert_array_equal(targets, SkipGram(1000, 50, Pairs(), seed=7).target_embeddings.numpy())


def test_initial_embeddings_can_be_those_of_keras():
    model = SkipGram(1000, 50, Pairs(), initialization="keras", seed=7)
    targets, contexts = model.target_embeddings.numpy(), model.context_embeddings.numpy()
    for table in (targets, contexts):
        assert 0.049 < abs(table).max() <= 0.05
        assert table.std() == pytest.approx(0.1 / np.sqrt(12), rel=0.02)
    assert abs(np.corrcoef(targets.ravel(), contexts.ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("example_format, loss", [(BLOCKS, "negative_sampling"), (Pairs(), "softmax")])
def test_config_round_trip(example_format, loss):
    model = SkipGram(100, 8, example_format, loss, "keras", seed=9)
    copy = SkipGram.from_config(json.loads(json.dumps(model.get_config())))
    assert isinstance(copy, keras.Model)
    assert copy.get_config() == model.get_config()
    assert copy.example_format == example_format
    np.testing.assert_array_equal(copy.target_embeddings.numpy(), model.target_embeddings.numpy())


def test_a_model_saved_by_keras_is_loaded_with_its_format_and_weights(tmp_path):
    model = make_model()
    model.train_step({k: tf.constant(v) for k, v in random_blocks(2, 6, 2, 3, seed=0).items()})
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(
        tmp_path / "model.keras", custom_objects={"SkipGram": SkipGram, "RowwiseAdagrad": RowwiseAdagrad}
    )
    assert copy.example_format == model.example_format
    for a, b in zip(copy.trainable_variables, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_blocks_have_no_softmax():
    with pytest.raises(ValueError, match="loss 'softmax': blocks have negative_sampling"):
        SkipGram(100, 8, BLOCKS, "softmax")
