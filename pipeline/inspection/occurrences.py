"""Where a word is in the shards: how often as a target, as a context word and as a negative sample."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.dataset.manifest import Shard
from pipeline.examples import records
from pipeline.examples.formats import Blocks, Examples, Pairs
from pipeline.inspection.opened import OpenDataset


@dataclass(frozen=True)
class Occurrences:
    """How often a word is in some examples."""

    records: int = 0  # records that have it in one of these roles
    as_target: int = 0  # skip-grams whose target it is
    as_context: int = 0  # skip-grams whose context word it is
    as_negative: int = 0  # negative samples; in blocks, all targets of a block share one

    def __add__(self, other: "Occurrences") -> "Occurrences":
        return Occurrences(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class Example:
    """An example in which a word is a target."""

    shard: str  # the name of the file
    record: int  # in the shard, from 1
    text: str  # the skip-grams of the target in words


@dataclass(frozen=True)
class WordInShards:
    """Where a word is in a dataset."""

    word: str
    id: int
    example_format: str
    total: Occurrences
    shards: dict[str, Occurrences]  # by the name of the shard, for those that have the word
    examples: tuple[Example, ...]


def find(dataset: OpenDataset, word: str, limit: int) -> WordInShards:
    """Looks for a word in all shards. It holds one record at a time.

    Args:
        dataset: the dataset.
        word: the word.
        limit: how many examples to keep.

    Raises:
        UserError: the word is not in the vocabulary, or a shard is damaged.
    """
    number = dataset.id_of(word)
    shards: dict[str, Occurrences] = {}
    found: list[Example] = []
    for shard in dataset.manifest.shards:
        of_shard = Occurrences()
        for record, examples in _records(dataset, shard):
            of_record = count(examples, number)
            of_shard += of_record
            if of_record.as_target and len(found) < limit:
                texts = itertools.islice(target_lines(examples, number, dataset.words), limit - len(found))
                found += (Example(shard.name, record, text) for text in texts)
        if of_shard.records:
            shards[shard.name] = of_shard
    total = sum(shards.values(), Occurrences())
    return WordInShards(word, number, dataset.manifest.example_format, total, shards, tuple(found))


def _records(dataset: OpenDataset, shard: Shard) -> Iterator[tuple[int, Examples]]:
    return enumerate(records.read(dataset.directory, shard, dataset.manifest), start=1)


def count(examples: Examples, number: int) -> Occurrences:
    """How often the word with an id is in the examples of a record."""
    if isinstance(examples, Pairs):
        is_word = examples.context == number  # [n, 1 + K]
        found = int(np.sum(examples.target == number)), int(np.sum(is_word[:, 0])), int(np.sum(is_word[:, 1:]))
    else:
        found = _count_in_blocks(examples, number)
    return Occurrences(int(any(found)), *found)


def _count_in_blocks(blocks: Blocks, number: int) -> tuple[int, int, int]:
    as_negative = int(np.sum(blocks.negatives == number))
    is_word = blocks.tokens == number  # [n, S + 2w]
    if not is_word.any():
        return 0, 0, as_negative
    left, right = blocks.left.astype(np.int64), blocks.right.astype(np.int64)  # [n, S]
    num_targets = left.shape[1]
    window = (is_word.shape[1] - num_targets) // 2
    as_target = int(np.sum((left + right)[is_word[:, window : window + num_targets]]))
    as_context = 0
    for distance in range(1, window + 1):
        before = is_word[:, window - distance : window - distance + num_targets]
        after = is_word[:, window + distance : window + distance + num_targets]
        as_context += int(np.sum(before & (left >= distance)) + np.sum(after & (right >= distance)))
    return as_target, as_context, as_negative


def target_lines(examples: Examples, number: int, words: list[str]) -> Iterator[str]:
    """The skip-grams of a target in words, a line for each time that it is one; `_` stands for the target.

    Args:
        examples: of a record.
        number: the id of the target.
        words: [V] the word of each id.
    """
    if isinstance(examples, Pairs):
        for row in np.flatnonzero(examples.target == number):
            context, *negatives = (words[i] for i in examples.context[row])
            yield f"{words[number]}: {context}, and not {', '.join(negatives)}"
        return
    window = (examples.tokens.shape[1] - examples.left.shape[1]) // 2
    for block, place in np.argwhere(examples.tokens[:, window : window + examples.left.shape[1]] == number):
        left, right, middle = int(examples.left[block, place]), int(examples.right[block, place]), window + place
        if left or right:
            around = [words[i] for i in examples.tokens[block, middle - left : middle + right + 1]]
            yield f"{words[number]}: {' '.join([*around[:left], '_', *around[left + 1 :]])}"
