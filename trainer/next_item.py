"""The next-item task: which rank does a model give to the item that comes next in a session? Pure NumPy.

A question is the items of a session up to some place. The answers are the items that come next. A model gives each
item of its vocabulary a score, which is the scalar product of the item's row of a table with the question's query
vector. The rank of an answer is 1 plus the number of other items with a score that is as high or higher.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

METRICS = ("hit_rate", "recall", "mrr", "ndcg")
UNKNOWN = -1  # the row of an item that is not in a model's vocabulary
_SCORES_AT_ONCE = 1 << 23  # take 32 MB
_QUESTIONS_AT_ONCE = 1024
_TOLERANCE = 1e-6  # float32 products that differ by less, relative to the lengths of the vectors, count as equal


class Sessions(NamedTuple):
    """Sessions, one behind the other. Items are numbers, whose meaning the caller knows."""

    items: np.ndarray  # the items of all sessions, [the sum of lengths]
    lengths: np.ndarray  # the number of items of each session, [n]

    def those_where(self, is_kept: np.ndarray) -> "Sessions":
        """The sessions without the items where `is_kept`, [the sum of lengths] bool, is false."""
        kept_before = np.concatenate([[0], np.cumsum(is_kept)])
        ends = np.cumsum(self.lengths)
        return Sessions(self.items[is_kept], kept_before[ends] - kept_before[ends - self.lengths])


class Questions(NamedTuple):
    """Questions and their answers."""

    before: Sessions  # for each question, the items of the session up to its place; at least one
    answers: np.ndarray  # the items that come next, [S, N]; UNKNOWN where there are fewer

    @property
    def owners(self) -> np.ndarray:
        """The question of each item in `before`."""
        return np.repeat(np.arange(len(self.answers)), self.before.lengths)

    def some(self, which: np.ndarray) -> "Questions":
        """The questions where `which`, [S] bool, is true."""
        return Questions(
            Sessions(self.before.items[np.repeat(which, self.before.lengths)], self.before.lengths[which]),
            self.answers[which],
        )

    def renamed(self, rows: np.ndarray) -> "Questions":
        """The same questions with `rows[item]` in place of each item; items before that are UNKNOWN are left out."""
        before = Sessions(rows[self.before.items], self.before.lengths)
        answers = np.where(self.answers == UNKNOWN, UNKNOWN, rows[self.answers])
        return Questions(before.those_where(before.items != UNKNOWN), answers)


def ask(sessions: Sessions, num_next: int = 1, with_repeats: bool = False) -> Questions:
    """Makes a question of each session: the last items are the answers, and the items before them the question.

    Sessions of fewer than two items make none. Unless `with_repeats` is set, an item that the question holds is no
    answer, and a session without an answer makes no question.

    Args:
        sessions: n sessions.
        num_next: how many of the last items are answers; fewer in a short session, so that one item is before them.
        with_repeats: whether an item that the session has had before can be an answer.
    """
    before: list[np.ndarray] = []
    answers: list[np.ndarray] = []
    ends = np.cumsum(sessions.lengths)
    for end, length in zip(ends.tolist(), sessions.lengths.tolist(), strict=True):
        if length < 2:  # noqa: PLR2004  there is nothing to ask for
            continue
        place = end - min(num_next, length - 1)
        right = np.full(num_next, UNKNOWN)
        known = sessions.items[end - length : place]
        following = dict.fromkeys(sessions.items[place:end].tolist())  # each item once
        allowed = [item for item in following if with_repeats or item not in known]
        right[: len(allowed)] = allowed
        if right[0] != UNKNOWN:
            before.append(known)
            answers.append(right)
    return Questions(
        Sessions(np.concatenate([*before, np.zeros(0, np.int64)]), np.array([len(each) for each in before], np.int64)),
        np.array(answers, np.int64).reshape(-1, num_next),
    )


def queries(questions: Questions, vectors: np.ndarray, num_items: int = 0) -> np.ndarray:
    """The mean of the vectors of each question's items, [S, D] float32.

    Args:
        questions: S questions, in which items are rows of `vectors`.
        vectors: [V, D].
        num_items: how many of the last items to use; 0 for all.
    """
    before = questions.before
    if num_items:
        from_end = np.repeat(np.cumsum(before.lengths), before.lengths) - np.arange(len(before.items))
        before = before.those_where(from_end <= num_items)
    found = np.zeros((len(before.lengths), vectors.shape[1]), np.float32)
    ends = np.cumsum(before.lengths)
    for some in _slices(len(found), _QUESTIONS_AT_ONCE):
        first = int(ends[some.start] - before.lengths[some.start])
        starts = (ends - before.lengths)[some] - first
        rows = before.items[first : int(ends[some][-1])]
        found[some] = np.add.reduceat(vectors[rows], starts) / before.lengths[some, np.newaxis]
    return found


class Ranking:
    """Finds the ranks of answers, while the table of all items comes block by block.

    Args:
        questions: S questions, in which items are rows of the table; each has an item before.
        queries: [S, D] float32, the query vector of each.
        answer_vectors: [S, N, D] float32, the table's rows of the answers; anything for those that are UNKNOWN.
        with_repeats: whether the items before are ranked as well. If not, they are no candidates.
    """

    def __init__(
        self, questions: Questions, queries: np.ndarray, answer_vectors: np.ndarray, with_repeats: bool = False
    ) -> None:
        self._queries = np.ascontiguousarray(queries, np.float32)
        lengths = np.linalg.norm(queries, axis=1)[:, np.newaxis] * np.linalg.norm(answer_vectors, axis=2)
        self._least = np.einsum("sd,snd->sn", queries, answer_vectors) - _TOLERANCE * lengths
        self._is_known = questions.answers != UNKNOWN
        self._num_before = np.zeros(questions.answers.shape, np.int64)  # the answer itself is counted, too
        owners, rows = questions.owners, questions.before.items
        order = np.argsort(rows if not with_repeats else rows[:0], kind="stable")
        self._owners, self._rows = owners[order], rows[order]  # what is no candidate, by row

    def add(self, start: int, block: np.ndarray) -> None:
        """Compares the answers with the rows of the table from `start` on, [n, D] float32."""
        for some in _slices(len(self._queries), _QUESTIONS_AT_ONCE):
            step = max(1, _SCORES_AT_ONCE // (some.stop - some.start))
            for rows in _slices(len(block), step):
                scores = self._queries[some] @ block[rows].T
                low, high = np.searchsorted(self._rows, [start + rows.start, start + rows.stop])
                owners = self._owners[low:high] - some.start
                is_here = (owners >= 0) & (owners < len(scores))
                scores[owners[is_here], self._rows[low:high][is_here] - start - rows.start] = -np.inf
                for number, (row, least) in enumerate(zip(scores, self._least[some], strict=True), some.start):
                    self._num_before[number] += [np.count_nonzero(row >= each) for each in least]

    @property
    def ranks(self) -> np.ndarray:
        """The rank of each answer, [S, N] float64: infinite for one that is UNKNOWN."""
        return np.where(self._is_known, np.maximum(self._num_before, 1), np.inf)


def rank_answers(
    questions: Questions, vectors: np.ndarray, table: np.ndarray, num_items: int = 0, with_repeats: bool = False
) -> np.ndarray:
    """The rank of each answer.

    Args:
        questions: S questions, in which items are rows of `vectors` and `table`. The items before may be none.
        vectors: [V, D] float32, whose mean over the items before is the query.
        table: [V, D] float32, which gives each item its score.
        num_items: how many of the last items before to use; 0 for all.
        with_repeats: whether the items before are ranked as well.

    Returns:
        [S, N] float64: infinite for an answer that is UNKNOWN, and if no item before is known.
    """
    ranks = np.full(questions.answers.shape, np.inf)
    is_asked = questions.before.lengths > 0
    asked = questions.some(is_asked)
    if not len(asked.answers):
        return ranks
    ranking = Ranking(asked, queries(asked, vectors, num_items), table[asked.answers], with_repeats)
    ranking.add(0, table)
    ranks[is_asked] = ranking.ranks
    return ranks


def rank_by_popularity(questions: Questions, places: np.ndarray, with_repeats: bool = False) -> np.ndarray:
    """The rank of each answer if the most popular items come first, [S, N] float64.

    Args:
        questions: S questions.
        places: for each item, its place 1, 2... in the order of popularity; infinite for an item that has none.
        with_repeats: whether the items before are ranked as well.
    """
    of_answers = np.where(questions.answers == UNKNOWN, np.inf, places[questions.answers])
    ranks = of_answers.copy()
    if not with_repeats:
        owners, items = np.unique(np.stack([questions.owners, questions.before.items]), axis=1)
        for answer in range(ranks.shape[1]):
            is_before = places[items] < of_answers[owners, answer]
            ranks[:, answer] -= np.bincount(owners[is_before], minlength=len(ranks))
    return ranks


def metrics(ranks: np.ndarray, is_answer: np.ndarray, k: int) -> np.ndarray:
    """The metrics of each question at k, [S, 4] in the order of METRICS.

    hit_rate  1 if one of the answers has a rank up to k
    recall    the share of the answers that have a rank up to k
    mrr       1 / the best rank if that is up to k, else 0
    ndcg      the sum of 1 / log2(1 + rank) over the answers with a rank up to k, as a share of the highest possible sum

    Args:
        ranks: [S, N], the ranks of the answers, from 1 to infinity.
        is_answer: [S, N] bool, whether there is such an answer; each question has one at least.
        k: how many items are shown to the customer.
    """
    is_found = is_answer & (ranks <= k)
    num_answers = is_answer.sum(axis=1)
    best = np.where(is_found, ranks, np.inf).min(axis=1)
    gain = np.where(is_found, 1 / np.log2(1 + ranks), 0).sum(axis=1)
    highest_gain = np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))[np.minimum(num_answers, k) - 1]
    columns = (best <= k, is_found.sum(axis=1) / num_answers, 1 / best, gain / highest_gain)
    return np.stack(columns, axis=1).astype(np.float64)


def _slices(size: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, size)) for start in range(0, size, step))
