"""The next-item task, against a naive evaluation that sorts all items for each session."""

import math

import numpy as np
import pytest

from trainer.bootstrap import intervals
from trainer.next_item import (
    METRICS,
    UNKNOWN,
    Sessions,
    ask,
    metrics,
    rank_answers,
    rank_by_popularity,
)


def sessions_of(lists: list[list[int]]) -> Sessions:
    return Sessions(np.array([item for each in lists for item in each], np.int64), np.array(list(map(len, lists))))


def lists_of(sessions: Sessions) -> list[list[int]]:
    ends = np.cumsum(sessions.lengths)
    return [sessions.items[end - n : end].tolist() for end, n in zip(ends, sessions.lengths, strict=True)]


def naive_questions(lists, num_next, with_repeats):
    """The items before and the right answers of each question."""
    found = []
    for session in lists:
        place = max(1, len(session) - num_next)
        before, after = session[:place], session[place:]
        answers = [
            item for n, item in enumerate(after) if item not in after[:n] and (with_repeats or item not in before)
        ]
        if answers:
            found.append((before, answers))
    return found


def naive_metrics(score, before, answers, k, with_repeats):
    """The metrics of one question, by sorting all items by their scores."""
    items = [item for item in range(len(score)) if with_repeats or item not in before]
    shown = sorted(items, key=lambda item: -score[item])[:k]
    hits = [item in answers for item in shown]
    gain = sum(hit / math.log2(2 + place) for place, hit in enumerate(hits))
    best = sum(1 / math.log2(2 + place) for place in range(min(k, len(answers))))
    return [any(hits), sum(hits) / len(answers), 1 / (1 + hits.index(True)) if any(hits) else 0, gain / best]


@pytest.fixture(scope="module")
def shop():
    """40 items, and 80 sessions of 0 to 9 of them, in which items come again."""
    rng = np.random.default_rng(0)
    lists = [rng.integers(40, size=rng.integers(10)).tolist() for _ in range(80)]
    return lists, rng.normal(size=(40, 6)).astype(np.float32), rng.normal(size=(40, 6)).astype(np.float32)


CASES = [(1, False, 0), (1, True, 0), (3, False, 0), (3, True, 2), (1, False, 1)]


@pytest.mark.parametrize("num_next, with_repeats, num_items", CASES)
def test_all_metrics_are_those_of_sorting_all_items(shop, num_next, with_repeats, num_items):
    lists, vectors, table = shop
    expected = naive_questions(lists, num_next, with_repeats)

    questions = ask(sessions_of(lists), num_next, with_repeats)

    assert lists_of(questions.before) == [before for before, _ in expected]
    assert [[a for a in row if a != UNKNOWN] for row in questions.answers.tolist()] == [each for _, each in expected]
    ranks = rank_answers(questions, vectors, table, num_items, with_repeats)
    for k in (1, 5, 40):
        found = metrics(ranks, questions.answers != UNKNOWN, k)
        naive = [
            naive_metrics(table @ vectors[before[-num_items:]].mean(axis=0), before, answers, k, with_repeats)
            for before, answers in expected
        ]
        np.testing.assert_allclose(found, naive, err_msg=str(k))
    assert 0.1 < found[:, METRICS.index("ndcg")].mean() < 1


@pytest.mark.parametrize("num_next, with_repeats, num_items", CASES[:3])
def test_popularity_is_ranked_as_a_score(shop, num_next, with_repeats, num_items):
    lists, _, _ = shop
    places = np.random.default_rng(1).permutation(40) + 1.0
    questions = ask(sessions_of(lists), num_next, with_repeats)

    ranks = rank_by_popularity(questions, places, with_repeats)

    found = metrics(ranks, questions.answers != UNKNOWN, 7)
    expected = naive_questions(lists, num_next, with_repeats)
    np.testing.assert_allclose(
        found, [naive_metrics(-places, before, answers, 7, with_repeats) for before, answers in expected]
    )


def test_a_large_table_is_looked_at_in_blocks(shop, monkeypatch):
    lists, vectors, table = shop
    questions = ask(sessions_of(lists))
    expected = rank_answers(questions, vectors, table)

    monkeypatch.setattr("trainer.next_item._QUESTIONS_AT_ONCE", 7)
    monkeypatch.setattr("trainer.next_item._SCORES_AT_ONCE", 7 * 9)

    assert np.array_equal(rank_answers(questions, vectors, table), expected)


def test_an_item_that_scores_the_same_comes_first(shop):
    """So a model that gives all items the same vector finds nothing."""
    lists, _, _ = shop
    questions = ask(sessions_of(lists))
    same = np.full((40, 3), 0.1, np.float32)

    ranks = rank_answers(questions, same, same)[:, 0]

    assert ranks.tolist() == [40 - len(set(before)) for before in lists_of(questions.before)]


def test_items_that_the_model_does_not_know(shop):
    """They are left out before the place; as answers, they are not found."""
    _, vectors, table = shop
    questions = ask(sessions_of([[1, 2, 3], [1, 9, 3], [9, 9, 3], [1, 2, 9]]))
    rows = np.arange(40)
    rows[9] = UNKNOWN

    ranks = rank_answers(questions.renamed(rows), vectors, table)

    assert np.isinf(ranks[2:, 0]).all()  # nothing before is known; the answer is not known
    assert ranks[:2, 0].tolist() == rank_answers(ask(sessions_of([[1, 2, 3], [1, 3]])), vectors, table)[:, 0].tolist()
    assert not metrics(ranks, questions.answers != UNKNOWN, 40)[2:].any()


def test_no_questions():
    questions = ask(sessions_of([[1], [], [2, 2]]))

    assert questions.answers.shape == (0, 1)
    assert rank_answers(questions, np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)).shape == (0, 1)


def test_intervals_are_those_of_drawing_sessions_again():
    """Against a loop that draws rows; and the interval of a share by the normal distribution."""
    rng = np.random.default_rng(2)
    values = (rng.random([400, 2]) < [0.3, 0.05]).astype(float)
    drawn = [values[rng.integers(400, size=400)].mean(axis=0) for _ in range(4000)]

    found = intervals(values)

    np.testing.assert_allclose(found, np.quantile(drawn, [0.025, 0.975], axis=0).T, atol=0.006)
    share = values.mean(axis=0)
    half = 1.96 * np.sqrt(share * (1 - share) / 400)
    np.testing.assert_allclose(found, np.stack([share - half, share + half], axis=1), atol=0.006)
    assert np.array_equal(found, intervals(values))


def test_intervals_of_differences_know_that_they_are_paired():
    """Two models that find nearly the same differ by little, however different the sessions are."""
    first = (np.random.default_rng(3).random([1000, 1]) < 0.5).astype(float)
    second = first.copy()
    second[:10] = 1

    (low, high), (alone_low, alone_high) = intervals(second - first)[0], intervals(first)[0]

    assert 0 <= low < (second - first).mean() < high
    assert high - low < 0.2 * (alone_high - alone_low)
