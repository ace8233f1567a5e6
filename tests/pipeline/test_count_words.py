"""The vocabulary is exact, in Keras's order, and part of the exported transform graph."""

import json
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import PipelineConfig
from pipeline.job import preflight, runner
from pipeline.text import count_words
from pipeline.text.look_up import Vocabulary
from tests import forked
from tests.pipeline import reference
from tests.pipeline.helpers import (
    flatten,
    random_text,
    read_manifest,
    read_records,
    read_vocabulary,
    write_files,
)

# Words that occur equally often are many here, and short ones are beginnings of others.
TIES = b"a an ana ann anna b ba bab\n" * 3 + b"an ana zz z Z, (ab) ab. don't dont\n" * 2 + b"rare rarer rarest rare\n"
TEXT = random_text(5, 20_000, num_words=400) + TIES
RESERVED_TEXT = b"[PAD] a b [UNK] a\n[PAD] b a c c [PAD]\n[UNK]\n" * 5


def run(folder, text, **settings):
    write_files(folder, {"text.txt": text})
    config = PipelineConfig(
        input=(str(folder / "text.txt"),),
        output=str(folder / "dataset"),
        num_shards=1,
        **{"tokenizer": "simple", "min_count": 1, "subsample": 0, **settings},
    )
    preflight.check(config)
    runner.run(config, [])
    return folder / "dataset"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A dataset with every word of TEXT in its vocabulary."""
    return run(tmp_path_factory.mktemp("vocabulary"), TEXT)


@pytest.fixture(scope="module")
def reserved(tmp_path_factory):
    """A dataset of text in which the reserved tokens occur."""
    return run(tmp_path_factory.mktemp("reserved"), RESERVED_TEXT, tokenizer="whitespace")


def test_counts_are_exact(dataset):
    rows = read_vocabulary(dataset)

    words = [word for line in TEXT.split(b"\n") for word in reference.words(line, "simple")]
    assert rows[:2] == [(b"[PAD]", 0), (b"[UNK]", 0)]
    assert dict(rows[2:]) == Counter(words)
    assert len(rows) == len(set(words)) + 2 == read_manifest(dataset)["vocab_size"]


def test_words_come_by_descending_count_and_ties_by_descending_token(dataset):
    rows = read_vocabulary(dataset)[2:]

    assert rows == sorted(rows, key=lambda row: (row[1], row[0]), reverse=True)
    assert [token.decode() for token, _ in rows if not token.startswith(b"w")] == (
        "ana an z dont ab bab ba b anna ann a zz rare rarest rarer".split()
    )


@pytest.mark.parametrize("max_tokens", [None, 50])
def test_ids_are_those_of_keras_text_vectorization(dataset, tmp_path, max_tokens):
    """So a trained table can be used as a Keras Embedding behind that layer."""
    if max_tokens:
        dataset = run(tmp_path, TEXT, vocab_size=max_tokens)
    assert keras.__version__ >= "3"  # though TensorFlow Transform asks for the legacy one
    layer = keras.layers.TextVectorization(max_tokens=max_tokens)
    layer.adapt(tf.constant(TEXT.split(b"\n")))

    assert [token.decode() for token, _ in read_vocabulary(dataset)][2:] == layer.get_vocabulary()[2:]
    assert len(read_vocabulary(dataset)) == layer.vocabulary_size()


@pytest.mark.parametrize(
    "settings", [{"vocab_size": 20}, {"min_count": 3}, {"vocab_size": 400, "min_count": 4}, {"vocab_size": 3}], ids=str
)
def test_limits_leave_the_rest_to_unk(tmp_path, settings):
    """--vocab_size includes [PAD] and [UNK]. The count of [UNK] is that of all words outside the vocabulary."""
    rows = read_vocabulary(run(tmp_path, TEXT, **settings))

    counts = Counter(word for line in TEXT.split(b"\n") for word in reference.words(line, "simple"))
    ordered = sorted(((count, word) for word, count in counts.items()), reverse=True)
    known = [(word, count) for count, word in ordered if count >= settings.get("min_count", 1)]
    known = known[: settings.get("vocab_size", 10**6) - 2]
    unknown = counts.total() - sum(count for _, count in known)
    assert rows == [(b"[PAD]", 0), (b"[UNK]", unknown), *known]
    assert unknown > 0
    assert len(rows) <= settings.get("vocab_size", 10**6)


def test_counts_are_exact_when_a_worker_cannot_hold_all_words(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(count_words, "_MAX_WORDS_HELD", 10)
    monkeypatch.setattr("pipeline.text.files.TEXT_BLOCK_BYTES", 1000)

    assert read_vocabulary(run(tmp_path, TEXT)) == read_vocabulary(dataset)


def test_words_that_read_as_reserved_tokens_are_unknown(reserved):
    """10 and 15 of 60 words are [UNK] and [PAD]. No skip-gram holds them, and the other words keep their own ids."""
    rows = read_vocabulary(reserved)
    examples = flatten(flatten(read_records(reserved)))

    assert rows == [(b"[PAD]", 0), (b"[UNK]", 25), (b"a", 15), (b"c", 10), (b"b", 10)]
    assert read_manifest(reserved)["counters"]["words_oov"] == 25
    used = [
        token
        for example in examples
        for token, left, right in zip(example["tokens"][5:-5], example["left"], example["right"], strict=True)
        if left or right
    ]
    assert Counter(used) == {2: 15, 3: 10, 4: 10}
    assert {token for example in examples for token in example["negatives"]} == {2, 3, 4}


def test_a_loaded_vocabulary_gives_ids_and_lengths_by_line(dataset):
    loaded = Vocabulary(str(dataset / "vocabulary.tsv"), "simple")
    index = {token: i for i, (token, _) in enumerate(read_vocabulary(dataset))}

    ids, lengths = loaded.ids([b"Anna, an ANN!", b"", b"unheard of: ana"])

    assert ids.tolist() == [index[b"anna"], index[b"an"], index[b"ann"], 1, 1, index[b"ana"]]
    assert lengths.tolist() == [3, 0, 3]
    assert loaded.counts.tolist() == [count for _, count in read_vocabulary(dataset)]
    assert loaded.counts.dtype == np.int64


IDS_BY_TENSORFLOW_ALONE = """
import json, sys
import tensorflow as tf
graph = tf.saved_model.load(sys.argv[1])
ids = graph.transform_fn({"text": tf.constant(json.loads(sys.argv[2]))})["ids"]
assert not {"tensorflow_transform", "apache_beam", "pipeline"} & set(sys.modules)
print(json.dumps(ids.to_list()))
"""


def test_the_transform_graph_alone_gives_the_same_ids(dataset, tmp_path):
    """The folder is moved and loaded in a process with TensorFlow alone. It looks up known and unknown words."""
    lines = [line.decode() for line in TEXT.split(b"\n")[:50] + TIES.split(b"\n")] + ["unheard — of", "❄ ann’s"]
    expected, lengths = Vocabulary(str(dataset / "vocabulary.tsv"), "simple").ids([line.encode() for line in lines])
    copy = tmp_path / "elsewhere"
    (dataset / "transform_fn").rename(copy)
    try:
        done = forked.server("trainer").run("-c", IDS_BY_TENSORFLOW_ALONE, copy, json.dumps(lines))
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)
    finally:
        copy.rename(dataset / "transform_fn")

    assert flatten(rows) == expected.tolist()
    assert [len(row) for row in rows] == lengths.tolist()
    index = {token: i for i, (token, _) in enumerate(read_vocabulary(dataset))}
    assert rows == [[index.get(word, 1) for word in reference.words(line.encode(), "simple")] for line in lines]


def test_the_transform_graph_knows_no_reserved_words_either(reserved):
    """Id 0 stands for padding alone."""
    graph = tf.saved_model.load(str(reserved / "transform_fn"))

    ids = graph.transform_fn({"text": tf.constant(["[PAD] a [UNK] zzz", ""])})["ids"]

    assert ids.to_list() == [[1, 2, 1, 1], []]


def test_the_vocabulary_is_the_asset_of_the_transform_graph(dataset):
    asset = dataset / "transform_fn" / "assets" / "vocabulary.tsv"

    assert asset.read_bytes() == (dataset / "vocabulary.tsv").read_bytes()


def test_each_part_of_a_limited_vocabulary_is_cut_before_they_come_together(dataset, tmp_path):
    """Words that are cut off count as [UNK], in whichever step they are cut."""
    cut = count_words._filter_part((0, [(b"a\nb\nc\nd", np.array([5, 9, 1, 7]))]), vocab_size=4, min_count=2)
    assert cut == ([(9, b"b"), (7, b"d")], 6)

    combine = count_words._MostFrequent(4)
    parts = [([(9 - number, b"%d" % number)], 1) for number in range(9)]
    accumulators = [combine.create_accumulator(), combine.create_accumulator()]
    for number, part in enumerate(parts):
        accumulators[number % 2] = combine.add_input(accumulators[number % 2], part)
        assert len(accumulators[number % 2][0]) <= 2 * 4
    assert combine.extract_output(combine.merge_accumulators(accumulators)) == ([(9, b"0"), (8, b"1")], 9 + 28)

    limited = run(tmp_path / "limited", TEXT, vocab_size=50)
    rows = read_vocabulary(dataset)
    assert read_vocabulary(limited)[2:] == rows[2:50]
    assert read_vocabulary(limited)[1] == (b"[UNK]", sum(count for _, count in rows[50:]))
