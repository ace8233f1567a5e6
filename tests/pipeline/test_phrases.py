"""Phrases are those of gensim: the same counts, scores and joined text, on every path through the code."""

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf
from gensim.models.phrases import Phrases as GensimPhrases
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import PipelineConfig
from pipeline.dataset.phrases import Phrase, parse_phrases, phrase_lines
from pipeline.errors import UserError
from pipeline.text import learn_phrases, phrase_counts
from pipeline.text.phrases import Phrases, join_phrases, phrase_table
from pipeline.text.tokenizer import separated, tokenize
from tests.conftest import ROOT
from tests.pipeline.helpers import deterministic

SHAKESPEARE = ROOT.parent / "shared" / "data" / "shakespeare.txt"
# Few words, so that runs of phrases and overlaps are common; one has a `_` of its own.
CORPORA = st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "a_b"]), max_size=9), min_size=1, max_size=25)


def config(**settings) -> PipelineConfig:
    return PipelineConfig(input=("x",), output="y", tokenizer="whitespace", **{"phrases": 1, **settings})


def learn_round(lines: Sequence[bytes], settings: PipelineConfig, number: int) -> list[Phrase]:
    """What a round of LearnPhrases finds, with its functions in the order of the Beam graph, for four bundles."""
    parts = defaultdict(list)
    for start in range(4):
        counter = phrase_counts.PairCounter()
        counter.add(lines[start::4])
        for part, counts in counter.take():
            parts[part].append(counts)
    words, pairs, totals = defaultdict(list), [], []
    for each in itertools.chain.from_iterable(
        learn_phrases._add_up_part(grouped, settings.phrase_min_count) for grouped in parts.items()
    ):
        {"words": lambda v: words[v[0]].append(v[1]), "pairs": pairs.append, "totals": totals.append}[each.tag](
            each.value
        )
    for position in (0, 1):
        groups = defaultdict(list)
        for some in pairs:
            for group, of_group in learn_phrases._by_group(some, position):
                groups[group].append(of_group)
        pairs = [
            found
            for group, of_group in groups.items()
            for found in learn_phrases._with_word_counts((group, {"pairs": of_group, "words": words[group]}), position)
        ]
    total = learn_phrases._sum(totals)
    return [phrase for some in pairs for phrase in learn_phrases._score(some, total, settings, number)]


def expected_round(sentences, **settings) -> tuple[dict[bytes, tuple[int, float]], list[list[str]]]:
    """By gensim: the count and score of each phrase of the sentences, and the sentences with their phrases joined."""
    model = GensimPhrases(sentences, max_vocab_size=10**9, **settings)
    found = {}
    for pair in {pair for sentence in sentences for pair in itertools.pairwise(sentence)}:
        phrase, score = model.score_candidate(*pair, [])
        if score is not None:
            found[" ".join(pair).encode()] = (model.vocab[phrase], score)
    return found, [model[sentence] if sentence else [] for sentence in sentences]


def joined_by_tensorflow(lines: Sequence[bytes], phrases: Sequence[Phrase], path) -> list[bytes]:
    path.write_bytes(b"".join(phrase_lines(phrases)))
    words = join_phrases(tokenize(tf.constant(lines, tf.string), "whitespace"), phrase_table(str(path)).lookup, 2)
    return [b" ".join(row) for row in words.to_list()]


SCORINGS = st.one_of(
    st.tuples(st.just("default"), st.sampled_from([0.01, 0.5, 1.0, 2.5])),
    st.tuples(st.just("npmi"), st.sampled_from([-1.0, -0.1, 0.0, 0.3])),
)


def check_rounds(text: Sequence[bytes], sentences, settings: PipelineConfig) -> list[Phrase]:
    """Checks all rounds against gensim: the counts, the phrases, the scores to the last bit, and the joined text."""
    phrases = []
    for number in range(1, settings.phrases + 1):
        lines = Phrases(phrases).join(text)
        assert [line.decode().split() for line in lines] == sentences
        expected, sentences = expected_round(
            sentences,
            min_count=settings.phrase_min_count,
            threshold=settings.phrase_threshold,
            scoring=settings.phrase_scoring,
        )

        found = learn_round(lines, settings, number)

        assert {phrase.pair: (phrase.count, phrase.score) for phrase in found} == expected
        phrases += found
    assert [line.decode().split() for line in Phrases(phrases).join(text)] == sentences
    return phrases


@settings(deterministic, max_examples=100)
@given(CORPORA, SCORINGS, st.integers(1, 3))
def test_two_rounds_are_those_of_gensim(sentences, scoring, min_count):
    flags = {"phrase_scoring": scoring[0], "phrase_threshold": scoring[1], "phrase_min_count": min_count}
    text = [" ".join(sentence).encode() for sentence in sentences]

    phrases = check_rounds(text, sentences, config(phrases=2, **flags))

    in_order = sorted(phrases, key=lambda phrase: (phrase.round, -phrase.score, phrase.pair))
    assert parse_phrases(b"".join(phrase_lines(phrases))) == in_order


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="the tutorial's Shakespeare is not at hand")
@pytest.mark.parametrize(
    ("flags", "number"), [({"phrases": 2}, 402), ({"phrase_scoring": "npmi", "phrase_threshold": 0.5}, 135)], ids=str
)
def test_the_phrases_of_shakespeare_are_those_of_gensim(flags, number):
    text = separated(SHAKESPEARE.read_bytes().split(b"\n"), "simple")

    phrases = check_rounds(text, [line.decode().split() for line in text], config(**flags))

    assert len(phrases) == number
    if flags.get("phrases") == 2:
        assert {b"john of", b"john_of gaunt"} <= {phrase.pair for phrase in phrases}


def test_the_graph_joins_as_the_fast_path_does(tmp_path):
    """Runs of overlapping phrases, lines without words, white space of all kinds, and pairs across lines."""
    rng = np.random.default_rng(1)
    lines = [b" ".join(rng.choice([b"a", b"b", b"c", b"d"], rng.integers(0, 12)).tolist()) for _ in range(300)]
    lines += [b"", b"  ", b"a", b"a  b\ta \x0b a\x0c", b" a a", b"b"]
    first = [Phrase(1, pair, 9, 1.5) for pair in (b"a a", b"a b", b"c d")]
    second = [Phrase(2, pair, 9, 2.5) for pair in (b"a_b c_d", b"a_a a", b"a_a a_a", b"b d")]
    for phrases in ([], first, first + second):
        expected = Phrases(phrases).join(lines)

        assert [b" ".join(line.split()) for line in expected] == joined_by_tensorflow(
            lines, phrases, tmp_path / f"{len(phrases)}.tsv"
        )
        assert [line.replace(b"_", b" ").split() for line in expected] == [line.split() for line in lines]
    assert Phrases(first + second).join([b"a a a a a", b"a b", b"c d a b c d"]) == [
        b"a_a_a_a a",
        b"a_b",
        b"c_d a_b_c_d",
    ]
    assert joined_by_tensorflow([], first, tmp_path / "phrases.tsv") == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"phrase_scoring": "npmi"},
            "--phrase_threshold 10: expected a number from -1 to 1, such as 0.5, with --",
        ),
        ({"phrase_threshold": 0}, "--phrase_threshold 0: expected a number above 0 with --phrase_scoring default"),
        ({"phrases": 5}, "--phrases 5: expected a whole number from 0 to 4"),
    ],
)
def test_a_threshold_must_suit_the_scoring(flags, message):
    with pytest.raises(UserError, match=f"^{message}"):
        config(**flags)
    assert config(**{**flags, "phrases": 0}).phrases == 0  # then the threshold does not matter
