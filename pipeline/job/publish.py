"""The manifest, and how a dataset comes to be: all at once, by the last step of the job.

Everything is first written below DATASET/.partial-<run>. The last step moves it into place and writes manifest.json.
What has no manifest is not a dataset, so a run that dies at any point leaves either the dataset that was there before
or none.
"""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
from tensorflow.io import gfile

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import MANIFEST_FILE, PARTIAL_PREFIX, SHARDS_FOLDER, TRANSFORM_FOLDER, VOCABULARY_FILE
from pipeline.dataset.manifest import MANIFEST_VERSION
from pipeline.errors import UserError
from pipeline.examples import records
from pipeline.examples.shards import Shard
from pipeline.examples.skipgrams import block_context_weights

_FILES_AT_ONCE = 32  # an object store takes its time for each, whatever the size


class Publish(beam.PTransform):
    """Shards -> the complete dataset.

    Args:
        config: the pipeline's settings.
        transform_fn: the path of the transform graph, a PCollection of one str.
        partial: the directory that the shards were written to.
    """

    def __init__(self, config: PipelineConfig, transform_fn: beam.PCollection, partial: str):
        super().__init__()
        self._config = config
        self._transform_fn = transform_fn
        self._partial = partial

    def expand(self, shards):
        return (
            shards
            | "AllShards" >> beam.combiners.ToList()  # [Shard]
            | "MoveIntoPlace"
            >> beam.Map(_publish, beam.pvalue.AsSingleton(self._transform_fn), self._config, self._partial)
            | "Published" >> beam.Reshuffle()  # so that a retry of one step does not repeat the other
            | "CleanUp" >> beam.Map(lambda path: _remove_partials(os.path.dirname(path)))
        )


def _publish(shards: list[Shard], transform_fn_dir: str, config: PipelineConfig, partial: str) -> str:
    """Moves the parts into place, then writes the manifest. May be run again after it died in the middle."""
    output = os.path.dirname(partial)
    shards = sorted(shards, key=lambda shard: shard.name)
    counts = Counter()
    for shard in shards:
        counts.update(shard.counts)
    if not counts["skip_grams"]:
        raise UserError(
            f"--input gives no skip-gram: --subsample {config.subsample} and the vocabulary leave no line with two of "
            f"its words, of {counts['words_read']:,} in all; a small corpus wants --subsample 0 and a low --min_count"
        )
    # File by file: an object store cannot rename a directory. What is copied stays where it is until CleanUp.
    copies = {
        os.path.join(TRANSFORM_FOLDER, os.path.relpath(source, transform_fn_dir)): source
        for source in _files_below(transform_fn_dir)
    }
    copies[VOCABULARY_FILE] = os.path.join(transform_fn_dir, "assets", VOCABULARY_FILE)
    _for_each(shards, lambda shard: _check_written(shard, partial))
    path = os.path.join(output, MANIFEST_FILE)
    if gfile.exists(path):
        gfile.remove(path)
    for name in (*copies, *(shard.name for shard in shards[:1])):
        gfile.makedirs(os.path.dirname(os.path.join(output, name)))
    for name, source in copies.items():
        gfile.copy(source, os.path.join(output, name), overwrite=True)
    _for_each(shards, lambda shard: _move(os.path.join(partial, shard.name), os.path.join(output, shard.name)))

    current = {*copies, *(shard.name for shard in shards)}
    for folder in (TRANSFORM_FOLDER, SHARDS_FOLDER):
        for file in _files_below(os.path.join(output, folder)):
            if os.path.relpath(file, output) not in current:  # of the dataset that is replaced
                gfile.remove(file)

    with gfile.GFile(os.path.join(output, VOCABULARY_FILE), "rb") as file:
        vocab_size = sum(1 for _ in file)
    manifest = _manifest(config, vocab_size, shards, counts)
    temporary = os.path.join(partial, MANIFEST_FILE)
    with gfile.GFile(temporary, "w") as file:
        file.write(json.dumps(manifest, indent=1) + "\n")
    gfile.rename(temporary, path, overwrite=True)
    return path


def _check_written(shard: Shard, partial: str) -> None:
    """Raises UserError if a shard is neither where it was written nor, moved by a try that died, in its place."""
    output = os.path.dirname(partial)
    for directory in (partial, output):
        path = os.path.join(directory, shard.name)
        if gfile.exists(path) and gfile.stat(path).length == shard.bytes:
            return
    raise UserError(
        f"--output {output}: {shard.name} is gone again: expected one run at a time, and a directory that all "
        "workers share"
    )


def _move(source: str, target: str) -> None:
    if gfile.exists(source):  # else a try that died has moved it
        gfile.rename(source, target, overwrite=True)


def _for_each(shards: Iterable[Shard], function: Callable[[Shard], None]) -> None:
    """Calls a function that waits for the file system, for many shards at once."""
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        for _ in pool.map(function, shards):
            pass  # raises what the function raised


def remove_partial(partial: str) -> None:
    """Removes what a run that failed has left in its directory."""
    if gfile.exists(partial):
        gfile.rmtree(partial)


def _remove_partials(output: str) -> None:
    """Removes what this run and runs that died have left in `output`."""
    for entry in gfile.listdir(output):
        if entry.startswith(PARTIAL_PREFIX):
            gfile.rmtree(os.path.join(output, entry))


def _manifest(config: PipelineConfig, vocab_size: int, shards: list[Shard], counts: Counter) -> dict:
    return {
        "version": MANIFEST_VERSION,
        "example_format": config.example_format,
        "fields": records.example_fields(config),
        "compression": config.compression,
        "window_size": config.window_size,
        **({"context_weights": block_context_weights(config)} if config.example_format == "blocks" else {}),
        "num_negatives": config.num_negatives,
        "vocab_size": vocab_size,
        "num_lines": counts["lines_read"],
        "num_words": counts["words_read"],
        "num_tokens": counts["tokens_kept"],
        "num_skip_grams": counts["skip_grams"],
        "passes": config.passes,
        "counters": dict(sorted(counts.items())),
        "config": dataclasses.asdict(config),
        "shards": [{key: value for key, value in vars(shard).items() if key != "counts"} for shard in shards],
    }


def _files_below(directory: str) -> Iterator[str]:
    for folder, _, names in gfile.walk(directory):
        for name in names:
            yield os.path.join(folder, name)
