"""The trainer's side of the contract: it reads the golden datasets, and refuses damaged ones. Beam is not imported."""

import itertools
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.contract.damages import CASES, DAMAGES, FOREIGN, FREE, VOCABULARIES, WRONG, changed, damaged, places
from tests.contract.make import FLAGS, FOLDER, FORMATS, without_what_is_new
from trainer import task
from trainer.batches import epoch_batches
from trainer.config import PRESETS, TrainerConfig
from trainer.console import run
from trainer.dataset import open_dataset
from trainer.dataset_layout import damage_in_vocabulary, vocabulary_tokens
from trainer.errors import UserError
from trainer.manifest import manifest_text, parse_manifest
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
    flags = PRESETS["tutorial"] if name == "pairs" else {}
    train(TrainerConfig(str(FOLDER / name), str(tmp_path / "model"), **{**flags, "epochs": 1}))
    lines = (tmp_path / "model/vectors.txt").read_text().splitlines()
    assert lines[0] == f"{open_dataset(str(FOLDER / name)).vocab_size - 2} 128"


def test_an_exported_model_joins_phrases(tmp_path):
    train(TrainerConfig(str(FOLDER / "phrases"), str(tmp_path / "model"), epochs=1, embedding_dim=4))
    model = tf.saved_model.load(str(tmp_path / "model/saved_model"))
    words = open_dataset(str(FOLDER / "phrases")).words()

    ids = model.signatures["tokenize"](tf.constant(["The fox JUMPS over the dog, and...", "the dog"]))["ids"].numpy()

    tokens = [[words[i] for i in row if i] for row in ids]
    assert tokens == [["the", "fox", "jumps_over_the", "dog_and"], ["the", "dog"]]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            "has the SHA-256 .*, but the phrases_sha256 of manifest",
        ),
        (lambda path: path.unlink(), "is missing"),
    ],
)
@pytest.mark.parametrize("name", ["phrases.tsv", "transform_fn/assets/phrases.tsv"])
def test_damaged_phrases_are_one_line(name, damage, message, tmp_path):
    dataset = shutil.copytree(FOLDER / "phrases", tmp_path / "dataset")
    damage(dataset / name)
    with pytest.raises(UserError, match=f"^--data .* {name} {message}") as raised:
        open_dataset(str(dataset))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("name", FORMATS)
def test_an_old_version_reads_as_the_new_one_without_what_it_lacks(name, version, tmp_path):
    old = parse_manifest((FOLDER / f"{name}.version{version}.json").read_text(), "old")
    new = parse_manifest((FOLDER / name / "manifest.json").read_text(), "new")
    assert old == without_what_is_new(new, version)
    dataset = shutil.copytree(FOLDER / name, tmp_path / name)
    shutil.copy(FOLDER / f"{name}.version{version}.json", dataset / "manifest.json")
    assert open_dataset(str(dataset)).manifest == old


@pytest.mark.parametrize(("damage", "name"), CASES)
def test_damage_is_one_line_that_names_file_and_field(damage, name):
    text = damaged((FOLDER / name / "manifest.json").read_text(), damage)
    with pytest.raises(UserError, match=f"^D/manifest.json:? .*{DAMAGES[damage][1]}") as raised:
        parse_manifest(text, "D/manifest.json")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("file", ["{}.version2.json", "{}.version3.json", "{}.version4.json", "{}/manifest.json"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_wrong_value_in_any_place_is_one_line_that_names_it(name, file):
    """Some 230 manifests in each of eight files."""
    text = (FOLDER / file.format(name)).read_text()
    accepted = set()
    for place, wrong in itertools.product(places(text), WRONG):
        try:
            parse_manifest(changed(text, place, wrong), "D/manifest.json")
            accepted.add((place, wrong))
        except UserError as error:
            assert str(error).startswith("D/manifest.json") and "\n" not in str(error), (place, wrong)
            assert str(place[-1]) in str(error) or place[0] == "fields", (place, wrong, str(error))
    assert accepted <= FREE[name]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(st.sampled_from(sorted(FLAGS)), st.data())
def test_any_json_in_any_place_is_one_line_or_is_kept(name, data):
    values = json.loads((FOLDER / name / "manifest.json").read_text())
    place, key = None, None
    inside = values
    while place is None or (isinstance(inside, dict | list) and inside and data.draw(st.booleans())):
        place = inside
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inside = place[key]
    place[key] = data.draw(_JSON)
    try:
        manifest = parse_manifest(json.dumps(values), "D/manifest.json")
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
    else:
        if manifest.vocabulary_sha256:  # versions 2 and 3 have none, and are not written
            assert parse_manifest(manifest_text(manifest), "again") == manifest


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_one_line(kind):
    text, message = FOREIGN[kind]
    with pytest.raises(UserError, match=f"^D/manifest.json.* ?{message}") as raised:
        parse_manifest(text, "D/manifest.json")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("version", [2, 3, 5])
@pytest.mark.parametrize("damage", VOCABULARIES)
def test_a_damaged_vocabulary_is_one_line(damage, version, tmp_path):
    """Version 2 and 3 state no digest. There, swapped lines are told by the graph's own copy of the file."""
    change, message = VOCABULARIES[damage]
    dataset = shutil.copytree(FOLDER / "blocks", tmp_path / "dataset")
    if version < 4:
        shutil.copy(FOLDER / f"blocks.version{version}.json", dataset / "manifest.json")
    (dataset / "vocabulary.tsv").write_bytes(change((dataset / "vocabulary.tsv").read_bytes()))
    if version >= 4 and "lines" not in message:
        message = "vocabulary.tsv has the SHA-256 [0-9a-f]{64}, but the vocabulary_sha256 of manifest.json is"
    with pytest.raises(UserError, match=f"^--data .* is damaged: {message}.*; copy the dataset again") as raised:
        open_dataset(str(dataset))
    assert "\n" not in str(raised.value)


def test_a_graph_with_another_vocabulary_is_refused(tmp_path):
    dataset = shutil.copytree(FOLDER / "blocks", tmp_path / "dataset")
    shutil.copy(FOLDER / "pairs/vocabulary.tsv", dataset / "transform_fn/assets/vocabulary.tsv")
    with pytest.raises(UserError, match="vocabulary.tsv differs from transform_fn/assets/vocabulary.tsv"):
        open_dataset(str(dataset))


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(st.data())
def test_any_vocabulary_is_told_or_holds_its_tokens(data):
    vocabulary = (FOLDER / "blocks/vocabulary.tsv").read_bytes()
    start = data.draw(st.integers(0, len(vocabulary)))
    stop = data.draw(st.integers(start, min(len(vocabulary), start + 9)))
    piece = data.draw(st.binary(max_size=5) | st.sampled_from([b"\t", b"\n", b"\r", b"\0", b"fox", b"1", b"\xc3\xbc"]))
    vocabulary = vocabulary[:start] + piece + vocabulary[stop:]
    if not damage_in_vocabulary(vocabulary):
        tokens = [token.decode() for token in vocabulary_tokens(vocabulary)]
        assert len(set(tokens)) == len(tokens) == vocabulary.count(b"\n")
        lines = vocabulary.decode().removesuffix("\n").split("\n")
        assert [f"{token}\t{line.rpartition(chr(9))[2]}" for token, line in zip(tokens, lines, strict=True)] == lines
        assert all(line.rpartition("\t")[2].isdecimal() for line in lines)


@pytest.mark.filterwarnings("ignore:TensorFlow was imported before")  # by this process of the tests
def test_the_command_tells_damage_in_one_line(tmp_path, capsys):
    dataset = shutil.copytree(FOLDER / "pairs", tmp_path / "dataset")
    text = (FOLDER / "pairs/manifest.json").read_text()
    (dataset / "manifest.json").write_text(damaged(text, "negative num_negatives"))
    argv = ["--data", str(dataset), "--output", str(tmp_path / "model")]
    assert run(lambda argv: task.main(argv, None), argv, "python -m trainer.task") == 2
    message = capsys.readouterr().err
    assert re.search("manifest.json: num_negatives is -5: expected", message)
    assert message.count("\n") == 1, message
    assert not (tmp_path / "model").exists()


def test_both_packages_read_manifests_with_the_same_code():
    for module in ("manifest", "checked_json"):
        ours, theirs = ((ROOT / folder / f"{module}.py").read_text() for folder in ("pipeline/dataset", "trainer"))
        for package in ("pipeline.dataset", "pipeline"):
            ours = ours.replace(f"from {package}.", "from trainer.")
        assert ours == theirs
