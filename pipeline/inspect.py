"""python -m pipeline.inspect DATASET

Prints the first examples of a dataset in words, and the first held-out lines. Both example formats are understood.
"""

import argparse
import hashlib
import io
import itertools
import os
import sys
from collections.abc import Iterator, Sequence

from pipeline import interrupt
from pipeline.console import EXIT_FAILED, EXIT_USAGE, Parser, importing, program
from pipeline.dataset.layout import MANIFEST_FILE, VOCABULARY_FILE
from pipeline.dataset.manifest import Manifest
from pipeline.errors import UserError, user_message

_COMMAND = "python -m pipeline.inspect"


def open_dataset(directory: str) -> tuple[Manifest, list[str]]:
    """Reads the manifest and the vocabulary of a dataset.

    Returns:
        The manifest, and the token of each id.

    Raises:
        UserError: there is no complete dataset in the directory, or one of the two files is damaged.
    """
    import tensorflow as tf

    from pipeline.dataset.read import read_manifest

    manifest = read_manifest(directory)
    try:
        with tf.io.gfile.GFile(os.path.join(directory, VOCABULARY_FILE), "rb") as file:
            vocabulary: bytes = file.read()
    except tf.errors.OpError as error:
        raise UserError(f"{directory} is damaged: its {VOCABULARY_FILE} cannot be read") from error
    lines = vocabulary.split(b"\n")[:-1]
    if len(lines) != manifest.vocab_size:
        raise UserError(
            f"{directory} is damaged: {VOCABULARY_FILE} has {len(lines)} lines, but the vocab_size of "
            f"{MANIFEST_FILE} is {manifest.vocab_size}"
        )
    if manifest.vocabulary_sha256 not in ("", hashlib.sha256(vocabulary).hexdigest()):
        raise UserError(
            f"{directory} is damaged: {VOCABULARY_FILE} is not the file whose vocabulary_sha256 is in {MANIFEST_FILE}"
        )
    words: list[str] = []
    for number, line in enumerate(lines, start=1):
        token, _, count = line.rpartition(b"\t")
        try:
            words.append(token.decode())
        except UnicodeDecodeError:
            token = b""
        if not token or not count.isdigit():
            raise UserError(
                f"{directory} is damaged: line {number} of {VOCABULARY_FILE} is {line[:100]!r}: expected a token in "
                "UTF-8, a tab and a count"
            )
    return manifest, words


def descriptions(directory: str, manifest: Manifest, words: Sequence[str]) -> Iterator[str]:
    """The examples of a dataset in words. Each record is read when its first example is asked for.

    Args:
        directory: where the pipeline wrote the dataset.
        manifest: its manifest.
        words: the token of each id.

    Raises:
        UserError: a shard is damaged.
    """
    from pipeline.examples import formats, records

    example_format = formats.named(manifest.example_format)
    for shard in manifest.shards:
        for examples in records.read(directory, shard, manifest):
            for row in zip(*examples, strict=True):
                yield example_format.describe(dict(zip(examples._fields, row, strict=True)), words)


def held_out_lines(directory: str, manifest: Manifest, words: Sequence[str]) -> Iterator[str]:
    """The held-out lines of a dataset, with [UNK] for each unknown word. The arguments are those of `descriptions`."""
    from pipeline.examples import holdout

    for file in manifest.holdout:
        for ids in holdout.read(directory, file, manifest):
            yield " ".join(words[i] for i in ids)


def main(argv: Sequence[str]) -> int:
    """Runs the command and returns the exit code.

    It is 2 for a mistake that is found before examples are read, and 1 if they cannot be read.
    """
    code = EXIT_USAGE
    try:
        args = _parse(argv)
        with importing():
            import tensorflow  # noqa: F401  takes seconds, so the flags are checked first
        manifest, words = open_dataset(args.dataset)
        code = EXIT_FAILED
        print(
            f"{manifest.num_skip_grams:,} skip-grams in {sum(shard.examples for shard in manifest.shards):,} "
            f"{manifest.example_format}, {manifest.vocab_size:,} ids\n"
        )
        for description in itertools.islice(descriptions(args.dataset, manifest, words), args.examples):
            print(description + "\n")
        if manifest.holdout:
            number, size = (sum(getattr(file, name) for file in manifest.holdout) for name in ("lines", "words"))
            print(f"{number:,} lines with {size:,} words are held out\n")
            for line in itertools.islice(held_out_lines(args.dataset, manifest, words), args.examples):
                print(line)
        sys.stdout.flush()
    except BrokenPipeError:  # what reads the output, such as head, has stopped reading
        sys.stderr.close()
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        print(f"{program(_COMMAND)}: {message}", file=sys.stderr)
        return code
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog=_COMMAND, description="Prints examples in words.")
    parser.add_argument("dataset", metavar="DATASET", help="the pipeline's output")
    parser.add_argument("--examples", type=int, default=3, metavar="N", help="how many (default 3)")
    args = parser.parse_args(argv)
    if args.examples < 1:
        raise UserError(f"--examples {args.examples}: expected 1 or more")
    try:
        args.dataset = os.fsencode(args.dataset).decode()  # the locale may have another encoding
    except UnicodeDecodeError as error:
        raise UserError(
            f"{args.dataset!r} is not UTF-8: expected a path in this encoding, as TensorFlow has it"
        ) from error
    return args


def command() -> int:
    """Runs the command with the arguments of this process, and returns the exit code."""
    interrupt.install(program(_COMMAND))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the terminal may not have all characters
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(command())
