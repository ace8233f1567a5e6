"""Compares models on the next-item task, with each other and with the popularity of items."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from trainer.bootstrap import intervals
from trainer.errors import UserError
from trainer.next_item import (
    METRICS,
    UNKNOWN,
    Sessions,
    ask,
    metrics,
    rank_answers,
    rank_by_popularity,
)
from trainer.word2vec_format import WordVectors
from trainer.word_tasks import read_text

POPULARITY, COSINE, CONTEXT = "popularity", "cosine", "context"


class Model(NamedTuple):
    """A model that is compared."""

    name: str
    vectors: WordVectors
    contexts: Callable[[], WordVectors] | None = None  # reads its context vectors; None if it has none
    counts: np.ndarray | None = None  # how often each word was in its text, [n]; None: the most frequent come first


class Material(NamedTuple):
    """Sessions that no model was trained on."""

    name: str
    words: Sequence[str]  # the token of each item
    sessions: Sessions  # items are indexes of `words`; those of `unknown` are no item
    places: np.ndarray | None  # of each item, 1, 2... by popularity; None: that of the first model's text
    unknown: int = UNKNOWN  # up to this number, items are unknown ones


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over questions, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Result:
    """The metrics of a model, or how much they are above another model's."""

    model: str  # "" for popularity
    score: str  # what ranks the items: popularity, cosine or context
    k: int
    metrics: dict[str, Estimate]
    than: str = ""  # the model that the metrics are compared with; "" if they stand for themselves


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `compare` has found."""

    sessions: int  # that were looked at
    questions: int  # one for each session that has an item that can be asked for
    unknown_share: float  # of the occurrences of items, those that no model knows
    results: list[Result]
    differences: list[Result]  # of each further model to the first


def text_sessions(path: str, max_sessions: int = 0, seed: int = 0) -> Material:
    """Reads sessions from a text file: a session on each line, with white space between its items.

    Args:
        path: a local file, or a path such as gs://.
        max_sessions: how many sessions to take at most, chosen by the seed; 0 for all.
        seed: the seed of that choice.

    Raises:
        UserError: the file cannot be read, or holds no session.
    """
    lines = [line for line in read_text(path, "sessions in UTF-8, one on each line").split("\n") if line.strip()]
    if 0 < max_sessions < len(lines):
        chosen = np.random.default_rng(seed).choice(len(lines), max_sessions, replace=False)
        lines = [lines[number] for number in np.sort(chosen)]
    if not lines:
        raise UserError(f"{path} holds no session: expected a session on each line, with white space between its items")
    index: dict[str, int] = {}
    items = [index.setdefault(token, len(index)) for line in lines for token in line.split()]
    lengths = [len(line.split()) for line in lines]
    return Material(path, list(index), Sessions(np.array(items, np.int64), np.array(lengths, np.int64)), None)


def places_by_count(counts: np.ndarray, first_item: int) -> np.ndarray:
    """The place of each item in the order of popularity, [V] float64. The items below first_item have none."""
    places = np.full(len(counts), np.inf)
    order = np.argsort(-counts[first_item:], kind="stable")
    places[first_item + order] = np.arange(1, len(order) + 1)
    return places


def compare(
    models: Sequence[Model],
    material: Material,
    ks: Sequence[int],
    num_next: int = 1,
    num_items: int = 0,
    with_repeats: bool = False,
) -> Comparison:
    """Asks all models the same questions.

    Items that no model knows are left out of the sessions first. An item that some of the models know is an answer that
    the others do not find.

    Args:
        models: the models; each further one is compared with the first.
        material: the sessions.
        ks: for which k the metrics are computed.
        num_next: how many of the last items of a session are the answers.
        num_items: how many items before them to use; 0 for all.
        with_repeats: whether items that the session has had are ranked, and can be answers.

    Raises:
        UserError: there is no question.
    """
    rows = [_rows(material.words, model.vectors) for model in models]
    is_known = np.any([each != UNKNOWN for each in rows], axis=0)
    is_known[: material.unknown + 1] = False
    sessions, is_kept = material.sessions, is_known[material.sessions.items]
    questions = ask(sessions.those_where(is_kept), num_next, with_repeats)
    if not len(questions.answers):
        raise UserError(
            f"{material.name} gives no question: none of its {len(sessions.lengths):,} sessions has two different "
            f"items that {' or '.join(model.name for model in models)} knows: expected sessions of the model's items"
        )
    places = _places(models[0], rows[0]) if material.places is None else material.places
    is_answer = questions.answers != UNKNOWN

    def values(ranks: np.ndarray) -> np.ndarray:
        return np.concatenate([metrics(ranks, is_answer, k) for k in ks], axis=1)

    found = {("", POPULARITY): values(rank_by_popularity(questions, places, with_repeats))}
    for model, each in zip(models, rows, strict=True):
        asked, vectors = questions.renamed(each), model.vectors
        ranks = rank_answers(asked, vectors.unit_vectors, vectors.unit_vectors, num_items, with_repeats)
        found[model.name, COSINE] = values(ranks)
        if model.contexts:
            table = _in_order(model.contexts(), vectors)
            found[model.name, CONTEXT] = values(rank_answers(asked, vectors.vectors, table, num_items, with_repeats))
    first = models[0].name
    return Comparison(
        sessions=len(sessions.lengths),
        questions=len(questions.answers),
        unknown_share=float(1 - is_kept.mean()),
        results=[each for (name, score), columns in found.items() for each in _results(name, score, ks, columns)],
        differences=[
            each
            for (name, score), columns in found.items()
            if name not in ("", first) and (first, score) in found
            for each in _results(name, score, ks, columns - found[first, score], than=first)
        ],
    )


def _results(model: str, score: str, ks: Sequence[int], columns: np.ndarray, than: str = "") -> list[Result]:
    """The results for each k, of the metrics of questions [S, k's x metrics]."""
    estimates = [
        Estimate(round(float(value), 6), round(float(low), 6), round(float(high), 6))
        for value, (low, high) in zip(columns.mean(axis=0), intervals(columns), strict=True)
    ]
    size = len(METRICS)
    return [
        Result(model, score, k, dict(zip(METRICS, estimates[number * size :][:size], strict=True)), than)
        for number, k in enumerate(ks)
    ]


def _places(model: Model, rows: np.ndarray) -> np.ndarray:
    """The place of each item in the order of popularity, [items] float64, from the text of a model.

    Args:
        model: the model.
        rows: the row of each item in the model, or UNKNOWN.
    """
    if model.counts is None:
        of_rows = np.arange(1.0, len(model.vectors.words) + 1)
    else:
        of_rows = places_by_count(model.counts, 0)
    return np.where(rows == UNKNOWN, np.inf, of_rows[rows])


def _rows(words: Sequence[str], vectors: WordVectors) -> np.ndarray:
    """The row that each word has in a model, [V] int64, or UNKNOWN."""
    index = vectors.index
    return np.fromiter((index.get(word, UNKNOWN) for word in words), np.int64, len(words))


def _in_order(contexts: WordVectors, vectors: WordVectors) -> np.ndarray:
    """The context vectors [V, D], in the order of the words of `vectors`; zeros for a word that has none."""
    if contexts.words == vectors.words:
        return contexts.vectors
    rows = _rows(vectors.words, contexts)
    return np.where(rows[:, np.newaxis] == UNKNOWN, np.float32(0), contexts.vectors[rows])
