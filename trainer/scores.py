"""How good a model is after each epoch, on what it is not trained on; and whether to stop there.

The scores, by the name that metrics.json, TensorBoard and the line of progress have:

    holdout_loss    the loss per skip-gram of held-out lines, of a sample that is the same after every epoch
    hit_rate_at_10  the share of held-out lines whose last item is among the 10 best by cosine, of a sample as well
    word_pairs      Spearman's correlation with the ratings of --word_pairs
    analogies       the share of --analogies that the vectors solve

If several processes train together, each computes what it can from its columns, and the chief does the rest.
"""

import json
import math
import time
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from trainer import news
from trainer.checkpoints import Position
from trainer.config import SCORES, TrainerConfig
from trainer.dataset import Dataset
from trainer.dataset_layout import FIRST_WORD_ID
from trainer.errors import UserError
from trainer.group import Group
from trainer.holdout import read_holdout
from trainer.model import SkipGram
from trainer.next_item import Ranking, ask, metrics, queries
from trainer.row_blocks import read_rows, row_blocks
from trainer.skip_gram_sample import Draws, mean_loss, sample_pairs
from trainer.tables import Collector
from trainer.word2vec_format import WordVectors
from trainer.word_tasks import MOST_FREQUENT, analogies, read_analogies, read_word_pairs, rows_by_upper_case, word_pairs

_SEED = 0  # of the samples, which do not depend on the seed of the run
_LINES = 20_000  # that the skip-grams are drawn from
_PAIRS = 10_000
# A question is compared with all words of the vocabulary. So there are fewer questions if the text is short for its
# vocabulary, and the scores take a few percent of the training's time at most.
_FEWEST_QUESTIONS, _MOST_QUESTIONS = 200, 1_000
_QUESTIONS_PER_OCCURRENCE = 3  # of the words, on average
_BLOCK_BYTES = 16 << 20  # of vectors that are looked at together, so that the scores take little memory
_K = 10  # of the hit rate
HOLDOUT_LOSS, HIT_RATE, WORD_PAIRS, ANALOGIES = SCORES
# What gives a score, for messages.
_HELD_OUT = "a dataset that the pipeline made with --holdout, and of whose held-out lines some have two words"
_SOURCES = {
    HOLDOUT_LOSS: _HELD_OUT,
    HIT_RATE: _HELD_OUT,
    WORD_PAIRS: "--word_pairs FILE",
    ANALOGIES: "--analogies FILE",
}
_ANY_SOURCE = f"{_HELD_OUT}; or --word_pairs FILE; or --analogies FILE"


class Scorer(Protocol):
    """Computes scores."""

    names: list[str]

    def __call__(self, model: SkipGram, is_chief: bool) -> dict[str, float]:
        """The scores of a model by name. All processes must call it; only what the chief gets matters."""


class HoldoutScorer:
    """The loss and the hit rate on held-out lines.

    Args:
        dataset: a dataset with held-out lines.
        loss: the loss that the model is trained with.
        collector: puts together what the processes have.
    """

    def __init__(self, dataset: Dataset, loss: str, collector: Collector) -> None:
        manifest, rng = dataset.manifest, np.random.default_rng(_SEED)
        lines = read_holdout(dataset, _LINES, _SEED)
        draws = Draws.of(
            dataset.counts(), manifest.config, manifest.context_weights, manifest.window_size, manifest.num_negatives
        )
        self._pairs = sample_pairs(lines, draws, _PAIRS, rng)
        self._loss, self._collector = loss, collector
        questions = ask(lines.those_where(lines.items >= FIRST_WORD_ID))
        which = np.zeros(len(questions.answers), bool)
        fitting = _QUESTIONS_PER_OCCURRENCE * dataset.words_per_epoch // dataset.vocab_size
        num_questions = min(max(_FEWEST_QUESTIONS, fitting), _MOST_QUESTIONS)
        which[rng.permutation(len(which))[:num_questions]] = True
        self._questions = questions.some(which)
        has_scores = {HOLDOUT_LOSS: len(self._pairs.targets), HIT_RATE: len(self._questions.answers)}
        self.names = [name for name, number in has_scores.items() if number]

    def __call__(self, model: SkipGram, is_chief: bool) -> dict[str, float]:
        found = {}
        if HOLDOUT_LOSS in self.names:
            found[HOLDOUT_LOSS] = mean_loss(self._logits(model), self._loss)
        if HIT_RATE in self.names:
            found[HIT_RATE] = self._hit_rate(model, is_chief)
        return found

    def _logits(self, model: SkipGram) -> np.ndarray:
        """The logits of the sample, [P, 1 + K]."""
        targets, contexts = self._pairs
        found = []
        for some in row_blocks(len(targets), contexts.shape[1] * model.embedding_dim, _BLOCK_BYTES):
            left = tf.gather(model.target_embeddings.value, targets[some])
            right = tf.gather(model.context_embeddings.value, contexts[some])
            found.append(self._collector.total(tf.einsum("pd,pkd->pk", left, right)))
        return np.concatenate(found)

    def _hit_rate(self, model: SkipGram, is_chief: bool) -> float:
        questions = self._questions
        used, rows = np.unique(np.concatenate([questions.before.items, questions.answers[:, 0]]), return_inverse=True)
        table = model.target_embeddings.value
        vectors = _unit(self._collector.whole_rows(tf.gather(table, used)))
        before, answers = np.split(rows, [len(questions.before.items)])
        renamed = questions._replace(before=questions.before._replace(items=before))
        ranking = Ranking(questions, queries(renamed, vectors), vectors[answers][:, np.newaxis])
        for block in row_blocks(model.vocab_size, model.embedding_dim, _BLOCK_BYTES):
            whole = self._collector.whole_rows(read_rows(table, block))
            if is_chief:
                first = max(block.start, FIRST_WORD_ID)
                ranking.add(first, _unit(whole[first - block.start :]))
        hits = metrics(ranking.ranks, np.ones_like(questions.answers, bool), _K)[:, 0]
        return float(hits.mean())


class WordScorer:
    """The scores on word similarity and analogies.

    Args:
        words: the token of each id, [V].
        pairs_file: a file for word similarity; "" for none.
        analogies_file: a file of analogies; "" for none.
        collector: puts together what the processes have.

    Raises:
        UserError: a file cannot be read or scored.
    """

    def __init__(self, words: Sequence[str], pairs_file: str, analogies_file: str, collector: Collector) -> None:
        self._collector = collector
        self._files = {WORD_PAIRS: pairs_file, ANALOGIES: analogies_file}
        self.names = [name for name, path in self._files.items() if path]
        named = words[FIRST_WORD_ID:]
        rows = rows_by_upper_case(named)
        used: set[int] = set()
        if pairs_file:
            pairs = [(a.upper(), b.upper()) for a, b, _ in read_word_pairs(pairs_file)]
            known = [pair for pair in pairs if pair[0] in rows and pair[1] in rows]
            used |= {rows[word] for pair in known for word in pair}
            _check_known(f"--word_pairs {pairs_file}", len(known), len(pairs))
        if analogies_file:
            frequent = {word for word, row in rows.items() if row < MOST_FREQUENT}
            questions = read_analogies(analogies_file)
            num_known = sum(all(word.upper() in frequent for word in question) for question in questions)
            used |= set(range(min(MOST_FREQUENT, len(named))))
            _check_known(f"--analogies {analogies_file}", num_known, len(questions))
        self._ids = np.array(sorted(used), np.int64) + FIRST_WORD_ID
        self._words = [words[number] for number in self._ids]

    def __call__(self, model: SkipGram, is_chief: bool) -> dict[str, float]:
        rows = self._collector.whole_rows(tf.gather(model.target_embeddings.value, self._ids))
        if not is_chief:
            return dict.fromkeys(self.names, 0.0)
        vectors = WordVectors(self._words, rows)
        functions = {WORD_PAIRS: word_pairs, ANALOGIES: analogies}
        return {name: functions[name](vectors, self._files[name]).value for name in self.names}


def _check_known(flag: str, num_known: int, num_lines: int) -> None:
    if not num_known:
        raise UserError(
            f"{flag}: each of its {num_lines:,} lines has a word that is not in the dataset's vocabulary: expected "
            "lines of its words"
        )


def scorers_of(config: TrainerConfig, dataset: Dataset, group: Group) -> list[Scorer]:
    """What computes the scores of a run.

    Args:
        config: the settings.
        dataset: the dataset.
        group: the processes that train together.

    Raises:
        UserError: a file cannot be read or scored.
    """
    scorers: list[Scorer] = []
    collector = Collector(group.columns(config.embedding_dim))
    if any(file.lines for file in dataset.manifest.holdout):
        scorers.append(HoldoutScorer(dataset, config.loss, collector))
    if config.word_pairs or config.analogies:
        scorers.append(WordScorer(dataset.words(), config.word_pairs, config.analogies, collector))
    return scorers


def decisive_score(config: TrainerConfig, scorers: Sequence[Scorer]) -> str:
    """The name of the score that the patience goes by; "" without patience.

    Raises:
        UserError: there is no such score.
    """
    names = [name for scorer in scorers for name in scorer.names]
    if not config.patience:
        return ""
    if config.patience_score in names:
        return config.patience_score
    if config.patience_score == "auto" and names:
        return names[0]
    source = _SOURCES.get(config.patience_score, _ANY_SOURCE)
    score = "" if config.patience_score == "auto" else f" --patience_score {config.patience_score}"
    raise UserError(f"--patience {config.patience}{score}: nothing tells which epoch is the best: expected {source}")


def should_stop(position: Position, patience: int) -> bool:
    """Whether a run stops where it is, between two epochs, because the score has not improved for `patience` epochs."""
    return _is_over(position.epoch, position.best_epoch, patience)


def _is_over(num_epochs: int, best_epoch: int, patience: int) -> bool:
    """Whether `patience` is above 0, and at least that many epochs have passed since the best one."""
    return 0 < patience <= num_epochs - best_epoch and best_epoch > 0


class ScoreEpochs(keras.callbacks.Callback):
    """Scores the model after each epoch. With patience, it stops the training once the scores get no better.

    It must come before the callbacks that save checkpoints and print.

    Args:
        scorers: what computes the scores.
        position: where the run is; the scores become part of its history.
        patience: after how many epochs without a better score the training stops; 0 never stops it.
        decisive: the name of the score that the patience goes by.
        group: the processes that train together.
    """

    def __init__(
        self, scorers: Sequence[Scorer], position: Position, patience: int, decisive: str, group: Group
    ) -> None:
        super().__init__()
        self._scorers = scorers
        self._position = position
        self._patience = patience
        self._decisive = decisive
        self._group = group
        self.latest: dict[str, float] = {}  # the scores of the epoch that has just ended

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Forgets the scores of the epoch before."""
        self.latest.clear()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Scores the model, and decides whether to go on."""
        if not self._scorers:
            return
        position, start = self._position, time.monotonic()
        found = {}
        news.show("scoring the model")
        for scorer in self._scorers:
            found.update(scorer(self.model, self._group.is_chief))
        self.latest.update(json.loads(self._group.told_by_chief(json.dumps(found))))
        for name, value in self.latest.items():
            position.history.setdefault(name, []).append(value)
        if self._patience:
            value = self.latest[self._decisive]
            score = -value if self._decisive == HOLDOUT_LOSS else value
            if not position.best_epoch or score > position.best_score:
                position.best_epoch, position.best_score = epoch + 1, score if math.isfinite(score) else -math.inf
            self.model.stop_training = _is_over(epoch + 1, position.best_epoch, self._patience)
        seconds = time.monotonic() - start
        position.score_seconds += seconds
        position.train_seconds -= seconds  # SaveCheckpoints adds the time of the whole epoch


def _unit(vectors: np.ndarray) -> np.ndarray:
    return WordVectors([], vectors).unit_vectors
