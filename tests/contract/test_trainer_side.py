"""The trainer's side of the contract: it reads the golden datasets, and refuses damaged ones. Beam is not imported."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT
from tests.contract.damages import CASES, DAMAGES, FOREIGN, damaged
from tests.contract.make import FLAGS, FOLDER
from trainer import task
from trainer.config import PRESETS, TrainerConfig
from trainer.console import run
from trainer.dataset import epoch_batches, open_dataset
from trainer.errors import UserError
from trainer.manifest import parse_manifest
from trainer.training import train


def read_examples(name: str) -> list[dict]:
    """The golden examples, as tuples that can be compared and sorted."""
    dataset = open_dataset(str(FOLDER / name))
    batches = list(epoch_batches(dataset, batch_size=4, seed=1, epoch=0))
    columns = {field: np.concatenate([batch[field].numpy() for batch in batches]) for field in batches[0]}
    return [{field: column[row].tolist() for field, column in columns.items()} for row in range(dataset.num_examples)]


def as_sorted(examples: list[dict], fields: tuple[str, ...]) -> list[str]:
    return sorted(json.dumps([example[field] for field in fields]) for example in examples)


@pytest.mark.parametrize(
    ("name", "parts"),
    # An epoch gives blocks the negatives of other blocks, and leaves pairs as they are.
    [("blocks", [("tokens", "left", "right"), ("negatives",)]), ("pairs", [("target", "context")])],
)
def test_the_golden_examples_are_read(name, parts):
    expected = json.loads((FOLDER / name / "examples.json").read_text())
    found = read_examples(name)
    for fields in parts:
        assert as_sorted(found, fields) == as_sorted(expected, fields)


@pytest.mark.parametrize("name", FLAGS)
def test_the_golden_words_and_graph_are_read(name):
    dataset = open_dataset(str(FOLDER / name))
    words = dataset.words()
    assert words[:2] == ["[PAD]", "[UNK]"] and len(words) == dataset.vocab_size
    graph = tf.saved_model.load(dataset.transform_fn)
    ids = graph.transform_fn({"text": tf.constant(["The FOX, the Elephant."])})["ids"]
    assert [words[i] for i in ids.flat_values.numpy()] == ["the", "fox", "the", "[UNK]"]


@pytest.mark.parametrize("name", FLAGS)
def test_a_golden_dataset_can_be_trained_on(name, tmp_path):
    settings = PRESETS["tutorial"] if name == "pairs" else {}
    train(TrainerConfig(str(FOLDER / name), str(tmp_path / "model"), **{**settings, "epochs": 1}))
    lines = (tmp_path / "model/vectors.txt").read_text().splitlines()
    assert lines[0] == f"{open_dataset(str(FOLDER / name)).vocab_size - 2} 128"


@pytest.mark.parametrize("name", FLAGS)
def test_version_2_reads_as_version_3(name, tmp_path):
    old = parse_manifest((FOLDER / f"{name}.version2.json").read_text(), "old")
    assert old == parse_manifest((FOLDER / name / "manifest.json").read_text(), "new")
    dataset = shutil.copytree(FOLDER / name, tmp_path / name)
    shutil.copy(FOLDER / f"{name}.version2.json", dataset / "manifest.json")
    assert open_dataset(str(dataset)).manifest == old


@pytest.mark.parametrize(("damage", "name"), CASES)
def test_damage_is_one_line_that_names_file_and_field(damage, name):
    text = damaged((FOLDER / name / "manifest.json").read_text(), damage)
    with pytest.raises(UserError, match=f"^D/manifest.json:? .*{DAMAGES[damage][1]}") as raised:
        parse_manifest(text, "D/manifest.json")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_one_line(kind):
    text, message = FOREIGN[kind]
    with pytest.raises(UserError, match=f"^D/manifest.json.* ?{message}") as raised:
        parse_manifest(text, "D/manifest.json")
    assert "\n" not in str(raised.value)


def test_a_vocabulary_that_contradicts_the_manifest_is_refused(tmp_path):
    dataset = shutil.copytree(FOLDER / "blocks", tmp_path / "dataset")
    lines = (dataset / "vocabulary.tsv").read_bytes().splitlines(keepends=True)
    (dataset / "vocabulary.tsv").write_bytes(b"".join(lines[:-1]))
    with pytest.raises(UserError, match="vocabulary.tsv has 19 lines, but the vocab_size of manifest.json is 20"):
        open_dataset(str(dataset))


@pytest.mark.filterwarnings("ignore:TensorFlow was imported before")  # by this process of the tests
def test_the_command_tells_damage_in_one_line(tmp_path, capsys):
    dataset = shutil.copytree(FOLDER / "pairs", tmp_path / "dataset")
    text = (FOLDER / "pairs/manifest.json").read_text()
    (dataset / "manifest.json").write_text(damaged(text, "negative num_negatives"))
    assert run(task.main, ["--data", str(dataset), "--output", str(tmp_path / "model")], "python -m trainer.task") == 2
    message = capsys.readouterr().err
    assert re.search("manifest.json: num_negatives is -5: expected", message)
    assert message.count("\n") == 1, message
    assert not (tmp_path / "model").exists()


def test_both_packages_read_manifests_with_the_same_code():
    copies = [(ROOT / path).read_text() for path in ("pipeline/dataset/manifest.py", "trainer/manifest.py")]
    assert copies[0].replace("from pipeline.errors", "from trainer.errors") == copies[1]
