"""The two formats: what they take from the manifest, and which rows of the tables a batch uses."""

import json

import numpy as np
import pytest
import tensorflow as tf

from trainer.batches import epoch_batches
from trainer.dataset import open_dataset
from trainer.formats import Blocks, Pairs, format_from_config

WEIGHTS = (1.0, 0.5)


def test_a_dataset_of_blocks_has_the_sizes_of_its_manifest(dataset_dir):
    assert open_dataset(str(dataset_dir)).example_format == Blocks(16, (1.0, 0.8, 0.6, 0.4, 0.2), 5)


def test_a_dataset_of_pairs_has_one_target_per_example(pairs_dir):
    example_format = open_dataset(str(pairs_dir)).example_format
    assert example_format == Pairs()
    assert example_format.targets_per_example == 1


def test_a_block_compares_each_target_with_its_tokens_and_negative_samples():
    blocks = {
        "tokens": tf.constant([[2, 3, 4, 5, 6, 7, 8], [9, 8, 7, 6, 5, 4, 3]]),
        "left": tf.ones([2, 3], tf.uint8),
        "right": tf.ones([2, 3], tf.uint8),
        "negatives": tf.constant([[10, 11], [12, 13]]),
    }
    targets, others = Blocks(3, WEIGHTS, 5).ids(blocks)
    np.testing.assert_array_equal(targets, [[4, 5, 6], [7, 6, 5]])
    np.testing.assert_array_equal(others, [[2, 3, 4, 5, 6, 7, 8, 10, 11], [9, 8, 7, 6, 5, 4, 3, 12, 13]])


def test_a_pair_compares_its_target_with_its_context_word_and_negative_samples():
    targets, others = Pairs().ids({"target": tf.constant([2, 3]), "context": tf.constant([[4, 5, 6], [7, 8, 9]])})
    np.testing.assert_array_equal(targets, [[2], [3]])
    np.testing.assert_array_equal(others, [[4, 5, 6], [7, 8, 9]])


@pytest.mark.parametrize("directory", ["dataset_dir", "pairs_dir"])
def test_ids_and_loss_fit_the_batches_of_a_dataset(directory, request):
    dataset = open_dataset(str(request.getfixturevalue(directory)))
    example_format = dataset.example_format
    batch = next(iter(epoch_batches(dataset, batch_size=8, seed=1, epoch=0)))
    targets, others = example_format.ids(batch)
    assert targets.shape == (8, example_format.targets_per_example)
    logits = tf.zeros([8, targets.shape[1], others.shape[1]])
    for name in example_format.losses:
        loss = example_format.loss_function(name)(batch, logits)
        assert loss.gradient.shape == logits.shape
        assert float(loss.num_skip_grams) > 0
        # With logits of 0, the logistic loss is ln 2 for the context word and for each negative sample. The loss of
        # softmax is the logarithm of the number of words. Blocks have a little less, because a negative sample does not
        # count for a target of which it is a context word.
        words = 1 + dataset.manifest.num_negatives
        expected = {"negative_sampling": words * np.log(2), "softmax": np.log(words)}[name]
        assert 0.7 * expected < float(loss.loss / loss.num_skip_grams) < 1.001 * expected


@pytest.mark.parametrize("example_format", [Blocks(3, WEIGHTS, 5), Pairs()])
def test_config_round_trip_through_json(example_format):
    assert format_from_config(json.loads(json.dumps(example_format.get_config()))) == example_format
