"""AnalyzeText and its parts alone: from ranges to a transform graph, from word counts to a vocabulary file."""

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to

from pipeline.config import PipelineConfig
from pipeline.errors import UserError
from pipeline.text import count_words
from pipeline.text.files import TextRange
from pipeline.text.look_up import Vocabulary
from tests.pipeline.helpers import write_files

# Three text blocks, in which c occurs 6 times, b 3, a 3, [PAD] 2 and d once.
BLOCKS = [b"a b c\nc c b", b"c c c\n[PAD] b [PAD]", b"d\n\na a"]


def count(tmp_path, blocks, vocab_size=0, min_count=1):
    """Runs the analyzer on text blocks; returns the lines of the vocabulary file."""
    limits = {"vocab_size": vocab_size, "min_count": min_count, "tokenizer": "whitespace"}
    analyzer = count_words._CountWords(PipelineConfig(input=("x",), output="y", **limits))
    analyzer.base_temp_dir = str(tmp_path / "analysis")  # TensorFlow Transform sets it in a job
    expected = str(tmp_path / "analysis" / "vocabulary.tsv")
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        arrays = [(np.array([text], object),) for text in blocks]
        path = pipeline | beam.Create(arrays) | analyzer
        assert_that(path | beam.Map(lambda array: array.item()), equal_to([expected]))
    return (tmp_path / "analysis" / "vocabulary.tsv").read_bytes().splitlines()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, [b"[PAD]\t0", b"[UNK]\t2", b"c\t6", b"b\t3", b"a\t3", b"d\t1"]),
        ({"min_count": 2}, [b"[PAD]\t0", b"[UNK]\t3", b"c\t6", b"b\t3", b"a\t3"]),
        ({"vocab_size": 4}, [b"[PAD]\t0", b"[UNK]\t6", b"c\t6", b"b\t3"]),
    ],
    ids=["no limit", "min_count", "vocab_size"],
)
def test_count_words_adds_up_all_blocks_and_leaves_the_rest_to_unk(tmp_path, monkeypatch, limits, expected):
    """Also where a worker cannot hold all words, and passes them on in between."""
    monkeypatch.setattr(count_words, "_MAX_WORDS_HELD", 2)

    assert count(tmp_path, BLOCKS, **limits) == expected


@pytest.mark.parametrize(
    ("blocks", "message"),
    [([b"\n"], "--input holds no words"), ([b"a a"], "--min_count 3 leaves no word: none of the 2 words")],
    ids=["no words", "rare words"],
)
def test_count_words_refuses_an_empty_vocabulary(tmp_path, blocks, message):
    with pytest.raises(UserError, match=message):
        count(tmp_path, blocks, min_count=3)


def test_most_frequent_puts_parts_together():
    parts = [([(3, b"a"), (1, b"b")], 2), ([(2, b"c")], 0), ([], 5)]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        found = pipeline | beam.Create(parts) | beam.CombineGlobally(count_words._MostFrequent(4))
        assert_that(found, equal_to([([(3, b"a"), (2, b"c")], 2 + 5 + 1)]))


def test_analyze_text_makes_a_graph_from_lines_to_ids(tmp_path):
    write_files(tmp_path, {"a.txt": b"The road, the road.\n", "b.txt": b"THE END\n"})
    ranges = [TextRange(str(tmp_path / name), name, 0, 100) for name in ("a.txt", "b.txt")]
    config = PipelineConfig(input=("x",), output="y", min_count=2)

    def ids_and_counts(path):
        vocabulary = Vocabulary(path, "simple")
        ids, lengths = vocabulary.ids([b"the end of the road", b""])
        return ids.tolist(), lengths.tolist(), vocabulary.counts.tolist()

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        path = pipeline | beam.Create(ranges) | count_words.AnalyzeText(config, str(tmp_path / "analysis"))
        assert_that(path | beam.Map(ids_and_counts), equal_to([([2, 1, 1, 2, 3], [5, 0], [0, 1, 3, 2])]))
