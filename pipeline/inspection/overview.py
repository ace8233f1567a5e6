"""What a dataset is, in a few numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.dataset.layout import FIRST_WORD_ID
from pipeline.inspection.opened import OpenDataset
from pipeline.inspection.word_facts import unknown_share

_FIRST_WORDS = 8


@dataclass(frozen=True)
class Overview:
    """What a dataset is."""

    example_format: str
    skip_grams: int
    examples: int
    ids: int  # [PAD] and [UNK] included
    text_words: int  # held-out lines left out
    unknown_share: float  # of the text, words that are not in the vocabulary
    first_words: tuple[str, ...]  # of the vocabulary
    shards: int
    shard_bytes: int
    held_out_lines: int
    held_out_words: int
    settings: Mapping[str, Any]  # of the pipeline


def of(dataset: OpenDataset) -> Overview:
    """The overview of a dataset."""
    manifest = dataset.manifest
    return Overview(
        example_format=manifest.example_format,
        skip_grams=manifest.num_skip_grams,
        examples=sum(shard.examples for shard in manifest.shards),
        ids=manifest.vocab_size,
        text_words=int(dataset.counts.sum()),
        unknown_share=unknown_share(dataset),
        first_words=tuple(dataset.words[FIRST_WORD_ID : FIRST_WORD_ID + _FIRST_WORDS]),
        shards=len(manifest.shards),
        shard_bytes=sum(shard.bytes for shard in manifest.shards),
        held_out_lines=sum(file.lines for file in manifest.holdout),
        held_out_words=sum(file.words for file in manifest.holdout),
        settings={**dataset.settings(), **manifest.config},
    )
