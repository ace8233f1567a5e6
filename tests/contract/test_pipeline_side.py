"""The pipeline's side of the contract: it still writes the golden datasets, and refuses damaged manifests."""

import contextlib
import hashlib
import itertools
import json
import shutil

import pytest
import tensorflow as tf
from gensim.models.phrases import Phrases

from pipeline import inspect
from pipeline.dataset.manifest import Manifest, manifest_text, parse_manifest
from pipeline.dataset.phrases import parse_phrases
from pipeline.errors import UserError
from pipeline.text.tokenizer import separated
from tests.contract.damages import CASES, DAMAGES, FOREIGN, damaged
from tests.contract.make import FLAGS, FOLDER, FORMATS, examples, make, without_what_is_new
from tests.pipeline.helpers import run_here


@pytest.fixture(scope="module", params=FLAGS)
def written(request, tmp_path_factory):
    """A golden dataset, and the same written now."""
    return FOLDER / request.param, make(request.param, tmp_path_factory.mktemp(request.param))


def test_the_golden_dataset_is_still_written_byte_for_byte(written):
    golden, dataset = written
    names, golden_names = (
        sorted(str(path.relative_to(folder)) for kind in ("skipgrams", "holdout") for path in folder.glob(f"{kind}/*"))
        for folder in (dataset, golden)
    )
    assert names == golden_names
    for name in ("manifest.json", "vocabulary.tsv", *names):
        assert (dataset / name).read_bytes() == (golden / name).read_bytes(), name


def test_the_golden_examples_are_what_the_shards_hold(written):
    golden, dataset = written
    assert examples(dataset) == json.loads((golden / "examples.json").read_text())


@pytest.mark.parametrize("name", FLAGS)
def test_what_is_written_is_read_again(name):
    text = (FOLDER / name / "manifest.json").read_text()
    assert manifest_text(parse_manifest(text, "manifest.json")) == text


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("name", FORMATS)
def test_an_old_version_reads_as_the_new_one_without_what_it_lacks(name, version):
    old = parse_manifest((FOLDER / f"{name}.version{version}.json").read_text(), "old")
    assert isinstance(old, Manifest)
    new = parse_manifest((FOLDER / name / "manifest.json").read_text(), "new")
    assert old == without_what_is_new(new, version)


@pytest.mark.parametrize("name", FLAGS)
def test_the_digest_is_that_of_the_vocabulary(name):
    manifest = parse_manifest((FOLDER / name / "manifest.json").read_text(), "new")
    assert manifest.vocabulary_sha256 == hashlib.sha256((FOLDER / name / "vocabulary.tsv").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", FLAGS)
def test_each_value_stands_in_the_manifest_once(name):
    values = json.loads((FOLDER / name / "manifest.json").read_text())
    counts = {"lines_read", "words_read", "tokens_kept", "skip_grams"}
    # The flags --vocab_size and --holdout are a limit and a share, and what stands at the top is what came out.
    assert not (values.keys() & values["config"].keys()) - {"vocab_size", "holdout"}
    assert not counts & values["counters"].keys()


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


def test_inspect_tells_damage_in_one_line(tmp_path, capsys):
    dataset = shutil.copytree(FOLDER / "blocks", tmp_path / "dataset")
    text = (dataset / "manifest.json").read_text()
    (dataset / "manifest.json").write_text(text.replace('"vocab_size": 20', '"vocab_size": 21'))

    assert inspect.main([str(dataset)]) == 2

    message = capsys.readouterr().err
    assert "vocabulary.tsv has 20 lines, but the vocab_size of manifest.json is 21" in message
    assert message.count("\n") == 1


def test_a_dataset_with_phrases_is_still_written_byte_for_byte(tmp_path):
    """Its phrases are those of gensim, the graph joins them as the fast path does, and the next dataset has none."""
    golden, dataset = FOLDER / "phrases", make("phrases", tmp_path)
    files = ("manifest.json", "vocabulary.tsv", "phrases.tsv", "skipgrams/skipgrams-00000-of-00001.tfrecord")
    for name in files:
        assert (dataset / name).read_bytes() == (golden / name).read_bytes(), name

    lines = (FOLDER / "corpus.txt").read_bytes().splitlines()
    sentences = [line.decode().split() for line in separated(lines, "words")]
    for number in (1, 2):
        model = Phrases(sentences, min_count=2, threshold=2)
        pairs = {pair for sentence in sentences for pair in itertools.pairwise(sentence)}
        scores = {" ".join(pair).encode(): model.score_candidate(*pair, [])[1] for pair in pairs}
        found = parse_phrases((dataset / "phrases.tsv").read_bytes())
        assert {each.pair: each.score for each in found if each.round == number} == {
            pair: score for pair, score in scores.items() if score is not None
        }
        sentences = [model[sentence] if sentence else [] for sentence in sentences]

    words = [line.split("\t")[0] for line in (dataset / "vocabulary.tsv").read_text().splitlines()]
    graph = tf.saved_model.load(str(dataset / "transform_fn"))
    ids = graph.transform_fn({"text": tf.constant(lines)})["ids"]
    assert [[words[i] for i in row] for row in ids.to_list()] == sentences
    assert json.loads((dataset / "manifest.json").read_text())["num_words"] == sum(map(len, sentences))

    with contextlib.chdir(tmp_path):
        run_here(*FLAGS["blocks"].split(), "--input", "corpus.txt", "--output", "phrases", "--overwrite")
    assert not (dataset / "phrases.tsv").exists()
    assert [path.name for path in (dataset / "transform_fn/assets").iterdir()] == ["vocabulary.tsv"]


def test_the_phrases_of_a_given_dataset_are_used_again(tmp_path):
    """The joined words keep their ids, occur in the new text, and are joined by its graph too."""
    given = str(FOLDER / "phrases")
    (tmp_path / "new.txt").write_text("The cat jumps over the moon, dog and cat.\n" * 3)
    flags = ["--input", str(tmp_path / "new.txt"), "--vocabulary", given, "--min_count", 1, "--subsample", 0]

    run_here(*flags, "--grow_vocabulary", "--output", tmp_path / "new")

    assert (tmp_path / "new/phrases.tsv").read_bytes() == (FOLDER / "phrases/phrases.tsv").read_bytes()
    before, after = (
        [line.split("\t") for line in (dataset / "vocabulary.tsv").read_text().splitlines()]
        for dataset in (FOLDER / "phrases", tmp_path / "new")
    )
    assert [word for word, _ in after] == [word for word, _ in before] + ["cat", "moon"]
    assert {word: count for word, count in after if count != "0"} == {
        "the": "3", "jumps_over_the": "3", "dog_and": "3", "moon": "3", "cat": "6"
    }  # fmt: skip
    graph = tf.saved_model.load(str(tmp_path / "new/transform_fn"))
    ids = graph.transform_fn({"text": tf.constant(["Cat, dog and moon"])})["ids"].flat_values.numpy()
    assert [after[i][0] for i in ids] == ["cat", "dog_and", "moon"]

    with pytest.raises(
        UserError, match="^--phrases 1: expected no --phrases, because --vocabulary .* brings the phras"
    ):
        run_here(*flags, "--phrases", 1, "--output", tmp_path / "other")
