"""Scores after each epoch, and the patience that goes by them: against naive computations and planned scores."""

import collections
import json
import types

import numpy as np
import pytest
import tensorflow as tf

from tests.contract.make import FOLDER
from tests.trainer.holdout import hold_out
from trainer import scores, training, word2vec_format
from trainer.checkpoints import Position
from trainer.dataset import open_dataset
from trainer.errors import UserError
from trainer.evaluate import main as evaluate
from trainer.group import Group
from trainer.losses import pairs_loss
from trainer.next_item import Sessions
from trainer.skip_gram_sample import Draws, mean_loss, sample_pairs
from trainer.task import parse

FLAGS = ("--embedding_dim", 6, "--seed", 3, "--exports", "vectors.bin,context_vectors.bin", "--no_state")


def test_the_sample_has_the_pairs_of_the_lines_in_their_shares():
    """Against a count of all pairs. Nothing is dropped here but unknown words, so that windows reach across them."""
    lines = [[2, 3, 4, 2], [5], [3, 1, 6, 2, 4]]
    weights = [1.0, 0.5]
    expected: collections.Counter = collections.Counter()
    for line in lines:
        kept = [word for word in line if word > 1]
        for place, word in enumerate(kept):
            for distance, weight in enumerate(weights, start=1):
                for other in (place - distance, place + distance):
                    if 0 <= other < len(kept):
                        expected[word, kept[other]] += weight
    sessions = Sessions(np.array(sum(lines, [])), np.array(list(map(len, lines))))
    counts = np.array([0, 1, 30, 20, 10, 5, 0])
    draws = Draws.of(counts, {"subsample": 0, "ns_exponent": 0.5}, tuple(weights), 2, 3)

    targets, contexts = sample_pairs(sessions, draws, 40_000, np.random.default_rng(0))

    found = collections.Counter(zip(targets.tolist(), contexts[:, 0].tolist(), strict=True))
    assert len(targets) == 40_000 and found.keys() == expected.keys()
    for pair, weight in expected.items():
        assert found[pair] / 40_000 == pytest.approx(weight / expected.total(), abs=0.01)
    # Negative samples are words that occur, by the square root of their counts, and never the context word.
    negatives = contexts[:, 1:]
    assert not (negatives == contexts[:, :1]).any() and set(np.unique(negatives)) == {2, 3, 4, 5}
    of_fours = negatives[contexts[:, 0] == 4].ravel()
    shares = np.bincount(of_fours, minlength=6)[[2, 3, 5]] / len(of_fours)
    np.testing.assert_allclose(shares, np.sqrt([30, 20, 5]) / np.sqrt([30, 20, 5]).sum(), atol=0.015)


def test_frequent_words_are_dropped_as_the_pipeline_drops_them():
    draws = Draws.of(np.array([0, 50, 900, 90, 10]), {"subsample": 0.01}, (1.0,), 1, 2)

    ratio = 0.01 / np.array([0.9, 0.09, 0.01])
    np.testing.assert_allclose(draws.keep, [0, 0, *np.minimum(1, np.sqrt(ratio) + ratio)])


def test_lines_without_pairs_give_none():
    draws = Draws.of(np.array([0, 0, 5, 5]), {}, (1.0,), 1, 2)
    for ids, lengths in (([], []), ([2, 3], [1, 1]), ([1, 1], [2])):
        sessions = Sessions(np.array(ids, np.int64), np.array(lengths, np.int64))
        assert len(sample_pairs(sessions, draws, 10, np.random.default_rng(0)).targets) == 0


@pytest.mark.parametrize("loss", ["negative_sampling", "softmax"])
def test_the_loss_is_that_of_the_training(loss):
    logits = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    pairs = {"target": tf.ones(50, tf.int32), "context": tf.ones([50, 4], tf.int32)}

    expected = pairs_loss(pairs, tf.constant(logits[:, np.newaxis]), loss)

    assert mean_loss(logits, loss) == pytest.approx(float(expected.loss / expected.num_skip_grams), rel=1e-5)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    rng = np.random.default_rng(0)
    lines = [rng.integers(1, 20, size=rng.integers(1, 8)).tolist() for _ in range(60)]
    return hold_out(FOLDER / "blocks", tmp_path_factory.mktemp("held out") / "dataset", [lines[:20], lines[20:]])


def train(dataset, output, *flags):
    return training.train(parse(["--data", str(dataset), "--output", str(output), *map(str, FLAGS), *map(str, flags)]))


def test_scores_are_those_of_the_exported_vectors(held_out, tmp_path):
    """After the last epoch, they are what trainer.evaluate tells about the model; TensorBoard has them all."""
    words = open_dataset(str(held_out)).words()[2:]
    pairs, questions = tmp_path / "pairs.tsv", tmp_path / "questions.txt"
    pairs.write_text("".join(f"{a}\t{b}\t{n % 5}\n" for n, (a, b) in enumerate(zip(words, words[3:], strict=False))))
    questions.write_text("".join(" ".join(words[n : n + 4]) + "\n" for n in range(14)))

    metrics = train(
        held_out, tmp_path / "model", "--epochs", 3, "--batch_size", 2, "--word_pairs", pairs, "--analogies", questions
    )

    report = tmp_path / "scores.json"
    flags = ["--holdout", held_out, "--word_pairs", pairs, "--analogies", questions, "--k", "10", "--json", report]
    evaluate([str(tmp_path / "model"), *map(str, flags)])
    expected = json.loads(report.read_text())
    cosine = next(each for each in expected["next_item"][0]["results"] if each["score"] == "cosine")
    assert metrics["hit_rate_at_10"][-1] == pytest.approx(cosine["metrics"]["hit_rate"]["value"], abs=1e-6)
    assert metrics["word_pairs"][-1] == pytest.approx(expected["word_pairs"][0]["spearman"])
    assert metrics["analogies"][-1] == expected["analogies"][0]["accuracy"]
    names = [scores.HOLDOUT_LOSS, scores.HIT_RATE, scores.WORD_PAIRS, scores.ANALOGIES]
    assert [len(metrics[name]) for name in names] == [3] * 4 and "best_epoch" not in metrics

    scorer = scores.HoldoutScorer(open_dataset(str(held_out)), "negative_sampling", None)
    pairs = scorer._pairs
    targets, contexts = (
        word2vec_format.load(f"{tmp_path}/model/{name}.bin").vectors for name in ("vectors", "context_vectors")
    )
    products = np.einsum("pd,pkd->pk", targets[pairs.targets - 2], contexts[pairs.contexts - 2])
    assert metrics["holdout_loss"][-1] == pytest.approx(mean_loss(products, "negative_sampling"), rel=1e-5)

    curves = collections.defaultdict(list)
    for file in tf.io.gfile.glob(f"{tmp_path}/model/logs/*tfevents*"):
        for event in tf.compat.v1.train.summary_iterator(file):
            for value in event.summary.value:
                curves[value.tag].append(float(tf.make_ndarray(value.tensor)))
    for name in names:
        assert curves[name] == pytest.approx(metrics[name], rel=1e-6)


class Plan:
    """A scorer with planned scores, which remembers the vectors that it has seen."""

    def __init__(self, values, name=scores.WORD_PAIRS, fail_at=None):
        self.names, self.values, self.fail_at = [name], values, fail_at
        self.vectors = {}

    def __call__(self, model, is_chief):
        epoch = int(model.optimizer.iterations) // 4
        if epoch == self.fail_at:
            raise InterruptedError
        self.vectors[epoch] = model.target_embeddings.numpy()
        return {self.names[0]: self.values[epoch - 1]}


def train_as_planned(monkeypatch, plan, output, patience, *flags):
    """Trains 6 epochs of 4 steps, if nothing stops it."""
    monkeypatch.setattr(training, "scorers_of", lambda *args: [plan])
    return train(FOLDER / "blocks", output, "--epochs", 6, "--batch_size", 2, "--patience", patience, *flags)


VALUES = [0.1, 0.3, 0.2, 0.25, 0.9, 0.9]
PLANS = [  # the scores, their name, the patience, how many epochs are trained, and the best of them
    (VALUES, "word_pairs", 2, 4, 2),
    (VALUES, "word_pairs", 3, 6, 5),
    ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "word_pairs", 1, 6, 6),
    ([4.0, 3.0, 3.5, 2.9, 2.95, 2.95], "holdout_loss", 2, 6, 4),
    ([0.5, float("nan"), 0.4, 0.6], "analogies", 2, 3, 1),
    ([float("nan"), 0.4, 0.6, 0.4, 0.3, 0.2], "analogies", 3, 6, 3),
    (VALUES, "word_pairs", 0, 6, 0),
]


@pytest.mark.parametrize("values, name, patience, epochs, best", PLANS)
def test_the_patience_ends_after_so_many_epochs_without_a_better_score(values, name, patience, epochs, best):
    position, following = Position(), iter(values)
    callback = scores.ScoreEpochs([lambda *args: {name: next(following)}], position, patience, name, Group())
    callback.set_model(types.SimpleNamespace(stop_training=False))

    for epoch in range(6):
        callback.on_epoch_begin(epoch)
        assert callback.latest == {}
        callback.on_epoch_end(epoch)
        position.epoch = epoch + 1
        assert callback.model.stop_training == scores.should_stop(position, patience)
        if callback.model.stop_training:
            break

    assert (position.epoch, position.best_epoch) == (epochs, best)
    assert position.history[name] == pytest.approx(values[:epochs], nan_ok=True)
    assert position.score_seconds == -position.train_seconds > 0


def test_the_vectors_of_the_best_epoch_are_kept(monkeypatch, tmp_path):
    plan = Plan(VALUES)

    metrics = train_as_planned(monkeypatch, plan, tmp_path / "model", 2)

    assert list(plan.vectors) == [1, 2, 3, 4] and len(metrics["loss"]) == 4
    assert metrics["best_epoch"] == 2
    vectors = word2vec_format.load(f"{tmp_path}/model/vectors.bin").vectors
    assert np.array_equal(vectors, plan.vectors[2][2:])
    assert not np.array_equal(vectors, plan.vectors[4][2:])
    assert not (tmp_path / "model" / "checkpoints").exists()


def test_a_run_that_is_resumed_has_the_same_patience(monkeypatch, tmp_path):
    """The best epoch was before the interruption. Its checkpoint is the third last one that was written."""
    broken, rest = Plan(VALUES, fail_at=4), Plan(VALUES)
    with pytest.raises(InterruptedError):
        train_as_planned(monkeypatch, broken, tmp_path / "model", 2)

    metrics = train_as_planned(monkeypatch, rest, tmp_path / "model", 2, "--resume")

    assert list(broken.vectors) == [1, 2, 3] and list(rest.vectors) == [4]
    assert metrics["best_epoch"] == 2 and metrics["word_pairs"] == VALUES[:4] and len(metrics["loss"]) == 4
    vectors = word2vec_format.load(f"{tmp_path}/model/vectors.bin").vectors
    assert np.array_equal(vectors, broken.vectors[2][2:])


def test_a_run_that_dies_after_it_has_stopped_goes_on_with_the_export(monkeypatch, tmp_path):
    def fail(*args):
        raise InterruptedError

    with monkeypatch.context() as context, pytest.raises(InterruptedError):
        context.setattr(training, "_export", fail)
        train_as_planned(context, plan := Plan(VALUES), tmp_path / "model", 2)

    metrics = train_as_planned(monkeypatch, rest := Plan(VALUES), tmp_path / "model", 2, "--resume")

    assert rest.vectors == {} and metrics["best_epoch"] == 2
    vectors = word2vec_format.load(f"{tmp_path}/model/vectors.bin").vectors
    assert np.array_equal(vectors, plan.vectors[2][2:])


def test_the_score_that_decides_may_be_chosen():
    scorers = [
        types.SimpleNamespace(names=["holdout_loss", "hit_rate_at_10"]),
        types.SimpleNamespace(names=["analogies"]),
    ]
    expected = {"auto": "holdout_loss", "hit_rate_at_10": "hit_rate_at_10", "analogies": "analogies"}
    for choice, decisive in expected.items():
        flags = ["--data", "d", "--output", "o", "--patience_score", choice]
        assert scores.decisive_score(parse([*flags, "--patience", "1"]), scorers) == decisive
        assert scores.decisive_score(parse(flags), scorers) == ""
    with pytest.raises(
        UserError, match="--patience_score word_pairs: nothing tells which .* best: expected --word_pairs FILE$"
    ):
        scores.decisive_score(parse([*flags[:-1], "word_pairs", "--patience", "1"]), scorers)


MISTAKES = [
    (["--patience", "2"], "--patience 2: nothing tells which epoch is the best: expected a dataset that the pipeline"),
    (["--word_pairs", "{}/nowhere"], "nowhere cannot be read"),
    (["--word_pairs", "{}/foreign"], "foreign: each of its 1 lines has a word that is not in the dataset's vocabulary"),
    (["--analogies", "{}/foreign"], "foreign, line 1: expected four words"),
    (["--analogies", "{}/four"], "four: each of its 1 lines has a word that is not in the dataset's vocabulary"),
]


@pytest.mark.parametrize("flags, message", MISTAKES)
def test_mistakes_are_told_before_anything_is_trained(tmp_path, flags, message):
    (tmp_path / "foreign").write_text("qqq\tzzz\t1\n")
    (tmp_path / "four").write_text("a b c qqq\n")
    config = parse(["--data", str(FOLDER / "blocks"), "--output", "o", *(flag.format(tmp_path) for flag in flags)])

    with pytest.raises(UserError) as raised:
        scores.decisive_score(config, scores.scorers_of(config, open_dataset(config.data), Group()))

    assert message in str(raised.value) and "\n" not in str(raised.value)
