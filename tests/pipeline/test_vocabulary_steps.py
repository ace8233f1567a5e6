"""CountWords and MakeTransformGraph alone: from ranges to a vocabulary file, and from there to a transform graph."""

import apache_beam as beam
import pytest
import tensorflow as tf
from apache_beam.testing.util import assert_that, equal_to

from pipeline.config import PipelineConfig
from pipeline.errors import UserError
from pipeline.text import count_words, transform_graph
from pipeline.text.files import TextRange
from tests.pipeline.helpers import write_files

# The texts of three files, in which c occurs 6 times, b 3, a 3, [PAD] 2 and d once.
TEXTS = [b"a b c\nc c b", b"c c c\n[PAD] b [PAD]", b"d\n\na a"]


def count(tmp_path, texts, **settings):
    """Runs CountWords on files of these texts; returns the lines of the vocabulary file."""
    config = PipelineConfig(input=("x",), output="y", **{"tokenizer": "whitespace", "min_count": 1, **settings})
    write_files(tmp_path, {str(number): text for number, text in enumerate(texts)})
    ranges = [TextRange(str(tmp_path / str(number)), str(number), 0, 100) for number in range(len(texts))]
    vocabulary = tmp_path / "analysis" / "vocabulary.tsv"
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        path = pipeline | beam.Create(ranges) | count_words.CountWords(config, str(tmp_path / "analysis"))
        assert_that(path, equal_to([str(vocabulary)]))
    return vocabulary.read_bytes().splitlines()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, [b"[PAD]\t0", b"[UNK]\t2", b"c\t6", b"b\t3", b"a\t3", b"d\t1"]),
        ({"min_count": 2}, [b"[PAD]\t0", b"[UNK]\t3", b"c\t6", b"b\t3", b"a\t3"]),
        ({"vocab_size": 4}, [b"[PAD]\t0", b"[UNK]\t6", b"c\t6", b"b\t3"]),
    ],
    ids=["no limit", "min_count", "vocab_size"],
)
def test_count_words_adds_up_all_texts_and_leaves_the_rest_to_unk(tmp_path, monkeypatch, limits, expected):
    """Also where a worker cannot hold all words, and passes them on in between."""
    monkeypatch.setattr(count_words, "_MAX_WORDS_HELD", 2)

    assert count(tmp_path, TEXTS, **limits) == expected


@pytest.mark.parametrize(
    ("texts", "message"),
    [([b"\n"], "--input holds no words"), ([b"a a"], "--min_count 3 leaves no word: none of the 2 words")],
    ids=["no words", "rare words"],
)
def test_count_words_refuses_an_empty_vocabulary(tmp_path, texts, message):
    with pytest.raises(UserError, match=message):
        count(tmp_path, texts, min_count=3)


def test_most_frequent_puts_parts_together():
    parts = [([(3, b"a"), (1, b"b")], 2), ([(2, b"c")], 0), ([], 5)]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        found = pipeline | beam.Create(parts) | beam.CombineGlobally(count_words._MostFrequent(4))
        assert_that(found, equal_to([([(3, b"a"), (2, b"c")], 2 + 5 + 1)]))


def test_the_transform_graph_turns_lines_into_ids(tmp_path):
    """It also holds a copy of the vocabulary file."""
    vocabulary = b"[PAD]\t0\n[UNK]\t1\nthe\t3\nroad\t2\n"
    write_files(tmp_path, {"vocabulary.tsv": vocabulary})
    config = PipelineConfig(input=("x",), output="y")

    def read(path):
        graph = tf.saved_model.load(path)
        ids = graph.transform_fn({"text": tf.constant(["The end - of the ROAD!", ""])})["ids"]
        with open(f"{path}/assets/vocabulary.tsv", "rb") as file:
            return ids.to_list(), file.read()

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        file = pipeline | beam.Create([str(tmp_path / "vocabulary.tsv")])
        path = file | transform_graph.MakeTransformGraph(config, str(tmp_path / "analysis"))
        assert_that(path | beam.Map(read), equal_to([([[2, 1, 1, 2, 3], []], vocabulary)]))
