"""python -m pipeline.inspect DATASET

Prints the first examples of a dataset in words. Both example formats are understood.
"""

import itertools
import os
import sys
from collections.abc import Iterator, Sequence

from pipeline.console import EXIT_USAGE, Parser, importing
from pipeline.errors import UserError

with importing():
    import numpy as np
    import tensorflow as tf

    from pipeline.dataset.layout import MANIFEST_FILE, VOCABULARY_FILE
    from pipeline.dataset.read import read_manifest
    from pipeline.dataset.vocabulary import read_words
    from pipeline.examples import formats, records


class Dataset:
    """A dataset that is opened for reading.

    Args:
        directory: where the pipeline wrote it.

    Raises:
        UserError: there is no complete dataset in the directory, or it is damaged.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.manifest = read_manifest(directory)
        self.format = formats.named(self.manifest.example_format)
        try:
            self.words = read_words(directory)
        except (tf.errors.OpError, ValueError) as error:
            raise UserError(f"{directory} is damaged: its {VOCABULARY_FILE} cannot be read") from error
        if len(self.words) != self.manifest.vocab_size:
            raise UserError(
                f"{directory} is damaged: {VOCABULARY_FILE} has {len(self.words)} lines, but the vocab_size of "
                f"{MANIFEST_FILE} is {self.manifest.vocab_size}"
            )

    def examples(self) -> Iterator[dict[str, np.ndarray]]:
        """The examples one by one, as arrays by field name."""
        compression = {"gzip": "GZIP", "none": ""}[self.manifest.compression]
        for shard in self.manifest.shards:
            path = os.path.join(self.directory, shard.name)
            for record in tf.data.TFRecordDataset(path, compression).as_numpy_iterator():
                examples = records.decode(record, self.format, self.manifest.fields)
                for row in zip(*examples, strict=True):
                    yield dict(zip(examples._fields, row, strict=True))


def main(argv: Sequence[str]) -> int:
    """Runs the command and returns the exit code."""
    parser = Parser(prog="python -m pipeline.inspect", description="Prints examples in words.")
    parser.add_argument("dataset", metavar="DATASET", help="the pipeline's output")
    parser.add_argument("--examples", type=int, default=3, metavar="N", help="how many (default 3)")
    try:
        args = parser.parse_args(argv)
        if args.examples < 1:
            raise UserError(f"--examples {args.examples}: expected 1 or more")
        dataset = Dataset(args.dataset)
    except UserError as error:
        print(f"python -m pipeline.inspect: {error}", file=sys.stderr)
        return EXIT_USAGE
    manifest = dataset.manifest
    print(
        f"{manifest.num_skip_grams:,} skip-grams in {sum(shard.examples for shard in manifest.shards):,} "
        f"{manifest.example_format}, {manifest.vocab_size:,} ids\n"
    )
    try:
        for example in itertools.islice(dataset.examples(), args.examples):
            print(dataset.format.describe(example, dataset.words) + "\n")
    except BrokenPipeError:  # what reads the output, such as head, has stopped reading
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
