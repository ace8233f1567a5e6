"""The curves that TensorBoard shows: how many points they have, what these say, and how they go on after --resume."""

import types

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from trainer.curves import Curves, EventFile
from trainer.throughput import Measured, Throughput

EPOCHS, STEPS_PER_EPOCH, STEPS_PER_CALL = 3, 1000, 3
WORDS_PER_EPOCH, SKIP_GRAMS_PER_EPOCH = 20_000, 50_000
RATES = {"words_per_second", "skip_grams_per_second", "input_wait_fraction"}


def curves_in(directory):
    """What TensorBoard shows of a folder: by name, the points as (step, value)."""
    events = EventAccumulator(str(directory), size_guidance={"tensors": 0}).Reload()
    return {
        name: [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors(name)]
        for name in events.Tags()["tensors"]
    }


class Run:
    """A run whose steps do nothing but what a test says: step n has the loss n over 2 skip-grams, and takes 1 ms."""

    def __init__(self, directory, epochs=EPOCHS, steps_per_epoch=STEPS_PER_EPOCH, done=0):
        dataset = types.SimpleNamespace(words_per_epoch=WORDS_PER_EPOCH, skip_grams_per_epoch=SKIP_GRAMS_PER_EPOCH)
        self.throughput = Throughput(dataset, steps_per_epoch)
        self.scores = {}
        self.curves = Curves(str(directory), self.throughput, epochs * steps_per_epoch, True, self.scores)
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.loss, self.accuracy = (
            types.SimpleNamespace(name=name, total=0.0, count=0.0) for name in ("loss", "accuracy")
        )
        self.optimizer = types.SimpleNamespace(iterations=done, learning_rate=0.5)
        self.curves.set_model(
            types.SimpleNamespace(optimizer=self.optimizer, loss_per_skip_gram=self.loss, accuracy=self.accuracy)
        )

    def train(self, until=None, steps_per_call=STEPS_PER_CALL):
        """Goes on to a step, or to the end."""
        for epoch in range(self.optimizer.iterations // self.steps_per_epoch, self.epochs):
            for metric in (self.loss, self.accuracy):  # Keras starts them anew
                metric.total = metric.count = 0.0
            self.scores.clear()
            first = self.optimizer.iterations
            self.curves.on_epoch_begin(epoch)
            while self.optimizer.iterations < (epoch + 1) * self.steps_per_epoch:
                batch = self.optimizer.iterations - first
                num_steps = min(steps_per_call, (epoch + 1) * self.steps_per_epoch - self.optimizer.iterations)
                self.curves.on_train_batch_begin(batch)
                for _ in range(num_steps):
                    self.optimizer.iterations += 1
                    for metric, value in ((self.loss, self.optimizer.iterations), (self.accuracy, 0.25)):
                        metric.total, metric.count = metric.total + 2 * value, metric.count + 2
                self.throughput.add(Measured(num_steps, num_steps / 1000, num_steps / 4000))
                self.curves.on_train_batch_end(batch + steps_per_call - 1, {"steps": num_steps})
                if until is not None and self.optimizer.iterations >= until:
                    self.curves._file.flush()
                    return
            self.scores["analogies"] = 0.1 * (epoch + 1)
            self.curves.on_epoch_end(epoch)
        self.curves.on_train_end()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    Run(directory).train()
    return curves_in(directory)


def test_a_long_run_has_a_bounded_number_of_points_evenly_spaced(whole):
    steps = [step for step, _ in whole["loss"]]

    assert 300 < len(steps) <= 400 + EPOCHS
    # A call is 3 steps, so the first call with at least 8 steps behind it is 9 steps after the last point.
    assert {after - before for before, after in zip(steps, steps[1:], strict=False)} <= {9, STEPS_PER_EPOCH % 9}
    assert {1000, 2000, 3000} <= set(steps)


@pytest.mark.parametrize("steps_per_epoch", [1, 2, 7, 100])
def test_a_short_run_has_a_point_for_each_step(steps_per_epoch, tmp_path):
    Run(tmp_path, steps_per_epoch=steps_per_epoch).train(steps_per_call=1)

    assert [step for step, _ in curves_in(tmp_path)["loss"]] == list(range(1, EPOCHS * steps_per_epoch + 1))


def test_each_epoch_has_a_point_however_many_there_are(tmp_path):
    Run(tmp_path, epochs=600, steps_per_epoch=1).train()

    curves = curves_in(tmp_path)
    assert [step for step, _ in curves["loss"]] == [step for step, _ in curves["analogies"]] == list(range(1, 601))


def test_a_point_tells_the_mean_since_the_one_before(whole):
    last = 0
    for step, value in whole["loss"]:
        assert value == pytest.approx((last + 1 + step) / 2)
        last = step
    assert {value for _, value in whole["accuracy"]} == {0.25}
    assert {value for _, value in whole["learning_rate"]} == {0.5}


def test_rates_are_those_since_the_point_before(tmp_path):
    run = Run(tmp_path)
    run.train(until=1500)
    run.throughput.add(Measured(0, 0.5, 0.25))  # a pause
    run.train()

    curves = curves_in(tmp_path)
    (slow,) = [step for step, value in curves["words_per_second"] if value < 10_000]
    assert 1500 < slow < 1500 + 2 * 9
    assert dict(curves["words_per_second"])[3000] == pytest.approx(WORDS_PER_EPOCH, rel=1e-4)
    assert dict(curves["skip_grams_per_second"])[3000] == pytest.approx(SKIP_GRAMS_PER_EPOCH, rel=1e-4)
    assert dict(curves["input_wait_fraction"])[3000] == pytest.approx(0.25, rel=1e-4)


def test_the_first_measurement_is_in_no_point(tmp_path):
    run = Run(tmp_path)
    run.throughput.add(Measured(1, 100.0, 100.0))  # the compilation
    run.train()

    rates = [value for _, value in curves_in(tmp_path)["words_per_second"]]
    assert min(rates) == pytest.approx(WORDS_PER_EPOCH, rel=1e-4)


def test_scores_have_a_point_at_the_end_of_each_epoch(whole):
    assert whole["analogies"] == [(1000, pytest.approx(0.1)), (2000, pytest.approx(0.2)), (3000, pytest.approx(0.3))]


@pytest.mark.parametrize("died_at, checkpoint", [(1700, 1300), (1000, 1000), (2001, 2000)])
def test_a_run_that_goes_on_at_its_checkpoint_replaces_the_points_behind_it(died_at, checkpoint, tmp_path):
    Run(tmp_path).train(until=died_at)
    again = Run(tmp_path, done=checkpoint)
    again.train()

    curves = curves_in(tmp_path)
    for name in ("loss", "learning_rate", "words_per_second"):
        steps = [step for step, _ in curves[name]]
        assert steps == sorted(set(steps)) and steps[-1] == 3000
    gaps = [after - before for (before, _), (after, _) in zip(curves["loss"], curves["loss"][1:], strict=False)]
    assert max(gaps) < 2 * 9  # also where the two runs meet


def test_a_run_that_goes_on_after_an_epoch_has_the_point_of_its_end(tmp_path):
    Run(tmp_path, epochs=1).train()
    Run(tmp_path, epochs=2, done=1000).train()

    curves = curves_in(tmp_path)
    assert [step for step, _ in curves["analogies"]] == [1000, 2000]
    assert 1000 in dict(curves["loss"])


def test_each_curve_is_described(tmp_path):
    Run(tmp_path).train()

    events = EventAccumulator(str(tmp_path)).Reload()
    for name in {"loss", "accuracy", "learning_rate", "analogies"} | RATES:
        assert events.SummaryMetadata(name).summary_description.endswith(".")
        assert events.SummaryMetadata(name).plugin_data.plugin_name == "scalars"


def test_the_points_of_a_run_that_was_killed_are_there(tmp_path):
    """No file is closed here. A file shows its points as soon as they are flushed."""
    file = EventFile(str(tmp_path), 1)
    file.add(7, {"loss": 2.5})
    assert "loss" not in curves_in(tmp_path)

    file.flush()
    assert curves_in(tmp_path)["loss"] == [(7, 2.5)]
