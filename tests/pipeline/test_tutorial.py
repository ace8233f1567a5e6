"""`--preset tutorial` does what the functions of TensorFlow's word2vec tutorial do.

Those functions run in a process of their own, where TFT has not switched Keras to its legacy version.
"""

import json
import sys

import numpy as np
import pytest

from pipeline.config import PRESETS, PipelineConfig
from pipeline.dataset.layout import UNK_ID
from pipeline.examples import draws, formats, skipgrams
from pipeline.streams import random_stream
from tests import forked
from tests.pipeline.helpers import (
    ROOT,
    all_counters,
    command,
    flatten,
    read_manifest,
    read_records,
    run_here,
    write_files,
)

SHAKESPEARE = ROOT.parent / "shared" / "data" / "shakespeare.txt"  # the tutorial's corpus, if it is at hand
SENTENCE = "The wide road shimmered in the hot sun"


def keras(script, *args):
    """What a script prints as JSON, in a process that has not imported TFT."""
    imports = "import sys, json\nimport numpy as np, tensorflow as tf, keras\n"
    done = forked.server("trainer").run("-c", imports + script, *args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tutorial(**settings) -> PipelineConfig:
    return PipelineConfig(**{"input": ("x",), "output": "y", **PRESETS["tutorial"], **settings})


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Keras's skipgrams raises TypeError from Python 3.12 on")
@pytest.mark.parametrize("window_size", [1, 2, 4])
def test_pairs_are_those_of_kerass_skipgrams(window_size):
    rng = np.random.default_rng(window_size)
    sequences = [rng.integers(1, 50, rng.integers(1, 11)).tolist() for _ in range(100)]
    script = """
from keras.src.legacy.preprocessing.sequence import skipgrams
sequences = json.loads(sys.argv[1])
print(json.dumps([
    skipgrams(s, 50, window_size=int(sys.argv[2]), negative_samples=0, shuffle=False)[0] for s in sequences
]))
"""
    expected = keras(script, json.dumps(sequences), window_size)

    for sequence, pairs in zip(sequences, expected):
        lengths = np.array([len(sequence)])
        extents = skipgrams.context_extents(lengths, np.full(len(sequence), window_size))
        found = np.column_stack(formats.enumerate_pairs(np.array(sequence), *extents))
        assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, pairs))


@pytest.mark.parametrize("threshold", [1e-5, 1e-3])
def test_the_sampling_table_is_kerass(threshold):
    script = """
from keras.src.legacy.preprocessing.sequence import make_sampling_table
print(json.dumps(make_sampling_table(4096, float(sys.argv[1])).tolist()))
"""
    expected = keras(script, threshold)

    np.testing.assert_allclose(draws.zipf_keep_probabilities(4096, threshold), expected, rtol=0, atol=1e-12)


def test_targets_are_thinned_by_rank_and_contexts_are_not():
    config = tutorial(vocab_size=0, subsample=1e-3)
    ids = np.tile([2, 300, 1, 900, 40], 8000)
    lengths = np.full(4000, 10)
    counts = np.maximum(1, 100_000 // np.arange(1, 1001))
    pairs, counted = skipgrams.skip_gram_examples(
        ids, lengths, skipgrams.Distributions.of(counts, config), config, (0, "a", 0)
    )

    keep = draws.zipf_keep_probabilities(1000, 1e-3)
    # In the middle of a sequence a target has 4 contexts, at its ends 2 or 3: 34 for 10 words.
    extents = np.minimum(np.arange(10), 2) + np.minimum(np.arange(10)[::-1], 2)
    for word in (1, 2, 40, 300, 900):
        occurrences = 4000 * extents[ids[:10] == word].sum()
        found = np.count_nonzero(pairs.target == word)
        # Draws are for targets, each with up to 4 pairs.
        assert abs(found - occurrences * keep[word]) < 5 * np.sqrt(4 * occurrences * keep[word] * (1 - keep[word]) + 1)
    assert counted["skip_grams"] == len(pairs.target)
    assert counted["words_dropped_subsampling"] == 0
    assert set(np.unique(pairs.context[:, 0])) == {1, 2, 40, 300, 900}


def test_negatives_are_those_of_tensorflows_sampler_without_pad_and_context():
    """Compares how often each id is drawn. TensorFlow's samples with [PAD] or the context word are left out."""
    vocab_size, context, num_negatives = 40, 5, 4
    script = """
vocab_size, context, k = map(int, sys.argv[1:])
tf.random.set_seed(1)

@tf.function
def draw():
    return tf.random.log_uniform_candidate_sampler(
        true_classes=tf.constant([[context]], tf.int64), num_true=1, num_sampled=k, unique=True, range_max=vocab_size,
        seed=3).sampled_candidates

@tf.function
def many(n):
    return tf.map_fn(lambda _: draw(), tf.range(n), fn_output_signature=tf.int64, parallel_iterations=1)

samples = many(60000).numpy()
allowed = ~((samples == 0) | (samples == context)).any(axis=1)
print(json.dumps([int(allowed.sum()), np.bincount(samples[allowed].ravel(), minlength=vocab_size).tolist()]))
"""
    num_samples, expected = keras(script, vocab_size, context, num_negatives)
    expected = np.array(expected, np.float64)

    rng = random_stream(7, "test")
    cdf = draws.log_uniform_cdf(vocab_size, UNK_ID)
    drawn = draws.draw_unique_negatives(draws.Noise(cdf), np.full(60_000, context), num_negatives, rng)
    found = np.bincount(drawn.ravel(), minlength=vocab_size) * (num_samples / 60_000)

    assert expected[[0, context]].sum() == found[[0, context]].sum() == 0
    used = expected > 0
    # Both are samples, of which ours was scaled: the variance of their difference is the sum of both.
    chi_square = ((found - expected)[used] ** 2 / (expected * (1 + num_samples / 60_000))[used]).sum()
    freedom = used.sum() - 1
    assert chi_square < freedom + 3.5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("first_id", [1, 2])
def test_unique_negatives_keep_their_promise(first_id):
    rng = random_stream(1, "test")
    contexts = np.arange(first_id, 12).repeat(200)
    drawn = draws.draw_unique_negatives(draws.Noise(draws.log_uniform_cdf(12, first_id)), contexts, 4, rng)

    assert drawn.shape == (len(contexts), 4)
    assert drawn.min() == first_id and drawn.max() == 11
    assert not (drawn == contexts[:, np.newaxis]).any()
    assert all(len(set(row)) == 4 for row in drawn.tolist())


def test_a_vocabulary_too_small_for_unique_negatives_is_told(tmp_path):
    write_files(tmp_path, {"a.txt": b"to be or\n"})
    done = command("--preset=tutorial", "--input", tmp_path / "a.txt", "--output", tmp_path / "d", "--subsample=0")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("python -m pipeline: --num_negatives 4: the vocabulary")
    assert not (tmp_path / "d" / "manifest.json").exists()


@pytest.fixture(scope="module")
def sentence_dataset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sentence")
    write_files(directory, {"a.txt": SENTENCE.encode()})
    flags = ["--preset=tutorial", "--subsample=0", "--num_shards=1"]
    run_here(*flags, "--input", directory / "a.txt", "--output", directory / "d")
    return directory / "d"


def test_the_tutorials_sentence_has_its_26_skip_grams(sentence_dataset):
    manifest = read_manifest(sentence_dataset)
    assert manifest["num_skip_grams"] == 26
    assert manifest["example_format"] == "pairs"
    assert [(field["name"], field["shape"]) for field in manifest["fields"]] == [("target", []), ("context", [5])]

    words = [line.split("\t")[0] for line in (sentence_dataset / "vocabulary.tsv").read_text().splitlines()]
    ids = [words.index(word) for word in SENTENCE.lower().split()]
    expected = [
        (target, ids[j]) for i, target in enumerate(ids) for j in range(max(0, i - 2), min(len(ids), i + 3)) if j != i
    ]
    found = [(pair["target"], pair["context"][0]) for pair in flatten(flatten(read_records(sentence_dataset)))]
    assert found == expected


def test_words_past_the_tenth_go_on_as_a_new_sequence(tmp_path):
    """The notebook loses them."""
    write_files(tmp_path, {"a.txt": b"a b c d e f g h i j k l m\n"})
    flags = ["--preset=tutorial", "--subsample=0", "--num_shards=1"]
    run_here(*flags, "--input", tmp_path / "a.txt", "--output", tmp_path / "d")
    manifest = read_manifest(tmp_path / "d")
    assert manifest["num_skip_grams"] == 34 + 6
    assert manifest["counters"]["sentences_split"] == 1


@pytest.fixture(scope="module")
def shakespeare(tmp_path_factory):
    """The datasets of three seeds."""
    if not SHAKESPEARE.exists():
        pytest.skip("the tutorial's Shakespeare is not at hand")
    directory = tmp_path_factory.mktemp("shakespeare")
    for seed in (1, 2, 3):
        run_here("--preset=tutorial", "--input", SHAKESPEARE, "--output", directory / f"{seed}", f"--seed={seed}")
    return [directory / f"{seed}" for seed in (1, 2, 3)]


def test_shakespeare_has_the_notebooks_numbers(shakespeare):
    manifests = [read_manifest(dataset) for dataset in shakespeare]
    counters = all_counters(manifests[0])

    assert counters["lines_read"] - counters["lines_empty"] == 32_777
    assert np.mean([manifest["num_skip_grams"] for manifest in manifests]) == pytest.approx(65_462, rel=0.01)
    assert len({manifest["num_skip_grams"] for manifest in manifests}) == 3


def test_shakespeares_vocabulary_is_that_of_textvectorization(shakespeare):
    script = """
import re, string
def standardize(text):
    return tf.strings.regex_replace(tf.strings.lower(text), '[%s]' % re.escape(string.punctuation), '')
layer = keras.layers.TextVectorization(standardize=standardize, max_tokens=4096)
layer.adapt(tf.data.TextLineDataset(sys.argv[1]).filter(lambda x: tf.cast(tf.strings.length(x), bool)).batch(1024))
print(json.dumps(layer.get_vocabulary()))
"""
    expected = keras(script, SHAKESPEARE)
    found = [line.split("\t")[0] for line in (shakespeare[0] / "vocabulary.tsv").read_text().splitlines()]

    assert found[2:13] == "the and to i of you my a that in is".split()
    assert found[2:] == expected[2:]
    assert len(found) == 4096
