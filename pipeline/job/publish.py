"""How a dataset comes to be: all at once, by the last step of the job.

Until then everything lies below DATASET/.partial-<run>, the run's partial folder. The last step moves it into place and
writes manifest.json. A directory without a manifest is not a dataset. So a run that dies, at whatever point, leaves
the dataset that was there before, or none.
"""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
from tensorflow.io import gfile

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import MANIFEST_FILE, PARTIAL_PREFIX, SHARDS_FOLDER, TRANSFORM_FOLDER, VOCABULARY_FILE
from pipeline.dataset.manifest import Manifest, Shard, manifest_text
from pipeline.errors import UserError
from pipeline.examples.formats import format_of
from pipeline.examples.shards import WrittenShard

_FILES_AT_ONCE = 32  # an object store takes its time for each file, whatever the size


class Publish(beam.PTransform):
    """WrittenShards -> the complete dataset; gives the path of its manifest, one str.

    Args:
        config: the pipeline's settings.
        transform_fn: the path of the transform graph, a PCollection of one str.
        partial: the partial folder, which the shards were written to.
    """

    def __init__(self, config: PipelineConfig, transform_fn: beam.PCollection, partial: str) -> None:
        super().__init__()
        self._config = config
        self._transform_fn = transform_fn
        self._partial = partial

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        return (
            shards
            | "AllShards" >> beam.combiners.ToList()  # [WrittenShard]
            | "MoveIntoPlace"
            >> beam.Map(_publish, beam.pvalue.AsSingleton(self._transform_fn), self._config, self._partial)  # path
            | "Published" >> beam.Reshuffle()  # a retry of one step does not repeat the other
            | "CleanUp" >> beam.Map(_clean_up)  # path
        )


def _publish(written: list[WrittenShard], transform_fn_dir: str, config: PipelineConfig, partial: str) -> str:
    """Moves all parts into place, then writes the manifest. A retry goes on where a try died."""
    output = os.path.dirname(partial)
    shards = sorted((item.shard for item in written), key=lambda shard: shard.name)
    counts: Counter[str] = Counter()
    for item in written:
        counts.update(item.counts)
    if not counts["skip_grams"]:
        raise UserError(
            f"--input gives no skip-gram: --subsample {config.subsample} and the vocabulary leave no line with two of "
            f"its words, of {counts['words_read']:,} in all; a small corpus wants --subsample 0 and a low --min_count"
        )
    # File by file, because an object store cannot rename a directory. A copy's source stays until the clean-up.
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
            if os.path.relpath(file, output) not in current:  # it belongs to the dataset that is being replaced
                gfile.remove(file)

    with gfile.GFile(os.path.join(output, VOCABULARY_FILE), "rb") as file:
        vocab_size = sum(1 for _ in file)
    temporary = os.path.join(partial, MANIFEST_FILE)
    with gfile.GFile(temporary, "w") as file:
        file.write(manifest_text(_manifest(config, vocab_size, shards, counts)))
    gfile.rename(temporary, path, overwrite=True)
    return path


def _check_written(shard: Shard, partial: str) -> None:
    """Raises UserError unless a shard is where it was written, or in its place because an earlier try moved it."""
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
    if gfile.exists(source):  # an earlier try may have moved it
        gfile.rename(source, target, overwrite=True)


def _for_each(shards: Iterable[Shard], function: Callable[[Shard], None]) -> None:
    """Calls a function that waits for the file system, for many shards at once."""
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        for _ in pool.map(function, shards):
            pass  # raises what the function raised


def remove_partial(partial: str) -> None:
    """Removes what a failed run has left in its partial folder."""
    if gfile.exists(partial):
        gfile.rmtree(partial)


def _clean_up(manifest_path: str) -> str:
    """Removes the partial folders of this run, and of earlier runs that died, from the output."""
    output = os.path.dirname(manifest_path)
    for entry in gfile.listdir(output):
        if entry.startswith(PARTIAL_PREFIX):
            gfile.rmtree(os.path.join(output, entry))
    return manifest_path


def _manifest(config: PipelineConfig, vocab_size: int, shards: Sequence[Shard], counts: Counter[str]) -> Manifest:
    """The manifest. What stands in a field of its own is left out of `config` and of `counters`."""
    settings, counters = dataclasses.asdict(config), dict(sorted(counts.items()))
    return Manifest(
        example_format=settings.pop("example_format"),
        fields=format_of(config).fields(config),
        compression=settings.pop("compression"),
        window_size=settings.pop("window_size"),
        context_weights=format_of(config).context_weights(config),
        num_negatives=settings.pop("num_negatives"),
        passes=settings.pop("passes"),
        vocab_size=vocab_size,
        num_lines=counters.pop("lines_read"),
        num_words=counters.pop("words_read"),
        num_tokens=counters.pop("tokens_kept"),
        num_skip_grams=counters.pop("skip_grams"),
        counters=counters,
        config=settings,
        shards=tuple(shards),
    )


def _files_below(directory: str) -> Iterator[str]:
    for folder, _, names in gfile.walk(directory):
        for name in names:
            yield os.path.join(folder, name)
