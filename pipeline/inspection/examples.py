"""The examples and the held-out lines of a dataset in words."""

from collections.abc import Iterator

from pipeline.examples import formats, holdout, records
from pipeline.inspection.opened import OpenDataset


def descriptions(dataset: OpenDataset) -> Iterator[str]:
    """The examples of a dataset. Each record is read when its first example is asked for.

    Raises:
        UserError: a shard is damaged.
    """
    example_format = formats.named(dataset.manifest.example_format)
    for shard in dataset.manifest.shards:
        for examples in records.read(dataset.directory, shard, dataset.manifest):
            for row in zip(*examples, strict=True):
                yield example_format.describe(dict(zip(examples._fields, row, strict=True)), dataset.words)


def held_out_lines(dataset: OpenDataset) -> Iterator[str]:
    """The held-out lines of a dataset, with [UNK] for each unknown word.

    Raises:
        UserError: a file of held-out lines is damaged.
    """
    for file in dataset.manifest.holdout:
        for ids in holdout.read(dataset.directory, file, dataset.manifest):
            yield " ".join(dataset.words[i] for i in ids)
