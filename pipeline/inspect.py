"""python -m pipeline.inspect DATASET

Prints the first examples of a dataset, of either format, in words.
"""

import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence

from pipeline.console import EXIT_USAGE, Parser, importing
from pipeline.errors import UserError

with importing():
    import tensorflow as tf
    from tensorflow.io import gfile

    from pipeline.examples import records


class Dataset:
    """A dataset, to be looked at.

    Args:
        directory: where the pipeline wrote it.

    Raises:
        UserError: there is none.
    """

    def __init__(self, directory: str):
        self.directory = directory
        try:
            with gfile.GFile(os.path.join(directory, "manifest.json")) as file:
                self.manifest = json.load(file)
            with gfile.GFile(os.path.join(directory, "vocabulary.tsv"), "rb") as file:
                self.words = [line.rsplit(b"\t", 1)[0].decode() for line in file]
        except (tf.errors.OpError, ValueError) as error:
            raise UserError(f"{directory} is no complete dataset: expected the --output of a pipeline run") from error

    def examples(self) -> Iterator[dict]:
        """The examples one by one, each field a NumPy array."""
        compression = {"gzip": "GZIP", "none": ""}[self.manifest["compression"]]
        for shard in self.manifest["shards"]:
            path = os.path.join(self.directory, shard["name"])
            for record in tf.data.TFRecordDataset(path, compression).as_numpy_iterator():
                fields = records.decode(record, self.manifest["fields"])._asdict()
                for row in zip(*fields.values(), strict=True):
                    yield dict(zip(fields, row, strict=True))

    def in_words(self, ids: Sequence[int]) -> list[str]:
        """The words of ids."""
        return [self.words[i] for i in ids]

    def describe(self, example: dict) -> str:
        """An example for people."""
        return self._describe_pair(**example) if "target" in example else self._describe_block(**example)

    def _describe_pair(self, target, context) -> str:
        """As the tutorial prints it."""
        return "\n".join([
            f"target_index    : {target}",
            f"target_word     : {self.words[target]}",
            f"context_indices : {context}",
            f"context_words   : {self.in_words(context)}",
            f"label           : [1{' 0' * (len(context) - 1)}]",
        ])  # fmt: skip

    def _describe_block(self, tokens, left, right, negatives) -> str:
        window_size = self.manifest["window_size"]
        used = [i for i in range(len(left)) if left[i] or right[i]]
        lines = [
            f"targets    : {tokens[window_size : window_size + len(left)][used]}",
            f"negatives  : {' '.join(self.in_words(negatives))}",
            f"skip-grams : {int(left.sum(dtype=int) + right.sum(dtype=int))}",
        ]
        for i in used:
            position = window_size + i
            before = self.in_words(tokens[position - left[i] : position])
            after = self.in_words(tokens[position + 1 : position + 1 + right[i]])
            lines.append(f"  {self.words[tokens[position]]}: {' '.join([*before, '_', *after])}")
        return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """The command; returns the exit code."""
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
        f"{manifest['num_skip_grams']:,} skip-grams in {sum(shard['examples'] for shard in manifest['shards']):,} "
        f"{manifest['example_format']}, {manifest['vocab_size']:,} ids\n"
    )
    try:
        for example in itertools.islice(dataset.examples(), args.examples):
            print(dataset.describe(example) + "\n")
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
