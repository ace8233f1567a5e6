"""How a dataset comes to be: all at once, by the last step of the job.

Until then everything lies below DATASET/.partial-<run>, the run's partial folder. The last step moves it into place and
writes manifest.json. A directory without a manifest is not a dataset. So a run that dies, at whatever point, leaves
the dataset that was there before, or none.

Other runs to the same output are kept away by a lock while the command runs (see pipeline.lock). A program that uses
BuildDataset has no lock, and neither has a job that goes on without the command. So the last step also checks that the
dataset in the output is still the one that was there as the job was built.
"""

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import apache_beam as beam
import tensorflow as tf
from tensorflow.io import gfile

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import (
    HOLDOUT_FOLDER,
    MANIFEST_FILE,
    PHRASES_FILE,
    SHARDS_FOLDER,
    TRANSFORM_FOLDER,
    VOCABULARY_FILE,
)
from pipeline.dataset.manifest import HoldoutFile, Manifest, Shard, manifest_text
from pipeline.dataset.phrases import parse_phrases
from pipeline.errors import UserError
from pipeline.examples.formats import format_of
from pipeline.examples.shards import WrittenShard
from pipeline.job.folders import remove_all_of
from pipeline.text.given_vocabulary import GIVEN_FILE, copied, drift
from pipeline.text.inputs import FoundFile, as_pattern, changed_file

_FILES_AT_ONCE = 32  # an object store takes its time for each file, whatever the size
_Item = TypeVar("_Item")


class Publish(beam.PTransform):
    """WrittenShards -> the complete dataset; gives the path of its manifest, one str.

    Args:
        config: the pipeline's settings.
        transform_fn: the path of the transform graph, a PCollection of one str.
        files: the files of --input as they were found, a PCollection of FoundFiles.
        partial: the partial folder, which the shards were written to.
        analysis: the folder that the transform graph was written to.
        before: what `current_state` gives of the output before the job; None if it does not matter.
    """

    def __init__(
        self,
        config: PipelineConfig,
        transform_fn: beam.PCollection[str],
        files: beam.PCollection[FoundFile],
        partial: str,
        analysis: str,
        before: str | None,
    ) -> None:
        super().__init__()
        self._config = config
        self._transform_fn = transform_fn
        self._files = files
        self._partial = partial
        self._analysis = analysis
        self._before = before

    def expand(self, shards: beam.PCollection[WrittenShard]) -> beam.PCollection[str]:
        patterns = [as_pattern(path) for path in self._config.input]  # a worker may run in another working directory
        return (
            shards
            | "AllShards" >> beam.combiners.ToList()  # [WrittenShard]
            | "CheckInput" >> beam.Map(_check_input, beam.pvalue.AsIter(self._files), patterns)  # [WrittenShard]
            | "MoveIntoPlace"
            >> beam.Map(
                _publish,
                beam.pvalue.AsSingleton(self._transform_fn),
                self._config,
                self._partial,
                self._analysis,
                self._before,
            )  # path
            | "Published" >> beam.Reshuffle()  # a retry of one step does not repeat the other
            | "CleanUp" >> beam.Map(_clean_up, self._analysis)  # path
        )


def current_state(output: str) -> str:
    """Tells datasets in a directory from one another: the SHA-256 of the manifest, or "" if there is none."""
    try:
        with gfile.GFile(os.path.join(output, MANIFEST_FILE), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except tf.errors.NotFoundError:
        return ""


def _check_input(
    written: list[WrittenShard], files: Iterable[FoundFile], patterns: Sequence[str]
) -> list[WrittenShard]:
    """Raises UserError if a file of --input has changed since it was found. Each pass would have read another text."""
    if changed := changed_file(files, patterns):
        raise UserError(changed)
    return written


def _publish(
    written: list[WrittenShard],
    transform_fn_dir: str,
    config: PipelineConfig,
    partial: str,
    analysis: str,
    before: str | None,
) -> str:
    """Moves all parts into place, the manifest last. A retry goes on where a try died.

    Whatever can fail, such as a disk that is full, comes before the dataset that is being replaced is touched. After
    that, files are only renamed.
    """
    output = os.path.dirname(partial)
    shards = sorted((item.shard for item in written), key=lambda shard: shard.name)
    holdout = sorted((item.holdout for item in written if item.holdout), key=lambda file: file.name)
    files: list[Shard | HoldoutFile] = [*shards, *holdout]
    counts: Counter[str] = Counter()
    for item in written:
        counts.update(item.counts)
    assets = list(_files_below(os.path.join(transform_fn_dir, "assets")))
    contents = {os.path.basename(path): _read(path) for path in assets}  # of the vocabulary file and the phrases file
    word_counts = [int(line.rsplit(b"\t", 1)[1]) for line in contents[VOCABULARY_FILE].splitlines()]
    _check_counts(config, sum(word_counts), counts)
    if config.vocabulary:
        counts.update(drift(word_counts, len(copied(os.path.join(analysis, GIVEN_FILE)))))
    # File by file, because an object store cannot rename a directory. The source stays for a retry until the clean-up.
    copies = {
        os.path.join(TRANSFORM_FOLDER, os.path.relpath(source, transform_fn_dir)): source
        for source in _files_below(transform_fn_dir)
    }
    copies.update({os.path.basename(path): path for path in assets})
    _for_each(files, lambda file: _check_written(file, partial))
    for name, source in copies.items():
        gfile.makedirs(os.path.dirname(os.path.join(partial, name)))
        gfile.copy(source, os.path.join(partial, name), overwrite=True)
    manifest = manifest_text(_manifest(config, contents, shards, holdout, counts))
    with gfile.GFile(os.path.join(partial, MANIFEST_FILE), "w") as file:
        file.write(manifest)

    names = [*copies, *(file.name for file in files)]
    for folder in {os.path.dirname(os.path.join(output, name)) for name in names}:
        gfile.makedirs(folder)
    _remove_manifest(output, before, hashlib.sha256(manifest.encode()).hexdigest())
    _for_each(names, lambda name: _move(os.path.join(partial, name), os.path.join(output, name)))
    current = set(names)
    for folder in (TRANSFORM_FOLDER, SHARDS_FOLDER, HOLDOUT_FOLDER):
        for path in _files_below(os.path.join(output, folder)):
            if os.path.relpath(path, output) not in current:  # it belongs to the dataset that is being replaced
                gfile.remove(path)
    if PHRASES_FILE not in current and gfile.exists(path := os.path.join(output, PHRASES_FILE)):
        gfile.remove(path)
    if not holdout and gfile.exists(os.path.join(output, HOLDOUT_FOLDER)):
        gfile.rmtree(os.path.join(output, HOLDOUT_FOLDER))
    path = os.path.join(output, MANIFEST_FILE)
    gfile.rename(os.path.join(partial, MANIFEST_FILE), path, overwrite=True)
    return path


def _check_counts(config: PipelineConfig, counted: int, counts: Counter[str]) -> None:
    """Raises UserError if the job has not read the same text twice, or has found nothing in it."""
    if counted != counts["words_read"]:
        raise UserError(
            f"--input {' '.join(config.input)} had {counted:,} words when they were counted, and "
            f"{counts['words_read']:,} when examples were made: expected files that stay as they are; run again"
        )
    if not counts["skip_grams"]:
        raise UserError(
            f"--input gives no skip-gram: --subsample {config.subsample} and the vocabulary leave no line with two of "
            f"its words, of {counts['words_read']:,} in all; a small corpus wants --subsample 0 and a low --min_count"
        )


def _remove_manifest(output: str, before: str | None, own: str) -> None:
    """Removes the manifest of the dataset that is being replaced.

    Args:
        output: where it is.
        before: the state of the output before the job; None if it does not matter.
        own: the state of the output after the job. An earlier try may have come as far as that.

    Raises:
        UserError: another run has written a dataset to the output during the job.
    """
    state = current_state(output)
    if before is not None and state not in ("", before, own):
        raise UserError(
            f"--output {output}: another run has written a dataset there since this one started: expected one run at a "
            "time; that dataset is left as it is"
        )
    if state:
        gfile.remove(os.path.join(output, MANIFEST_FILE))


def _check_written(file: Shard | HoldoutFile, partial: str) -> None:
    """Raises UserError unless a file is where it was written, or in its place because an earlier try moved it."""
    output = os.path.dirname(partial)
    for directory in (partial, output):
        path = os.path.join(directory, file.name)
        if gfile.exists(path) and gfile.stat(path).length == file.bytes:
            return
    raise UserError(
        f"--output {output}: {file.name} is gone again: expected one run at a time, and a directory that all "
        "workers share"
    )


def _move(source: str, target: str) -> None:
    if gfile.exists(source):  # an earlier try may have moved it
        gfile.rename(source, target, overwrite=True)


def _for_each(items: Iterable[_Item], function: Callable[[_Item], None]) -> None:
    """Calls a function that waits for the file system, for many shards or files at once."""
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        for _ in pool.map(function, items):
            pass  # raises what the function raised


def _clean_up(manifest_path: str, analysis: str) -> str:
    """Removes the folders of this run, and of earlier runs that died."""
    remove_all_of(os.path.dirname(manifest_path), analysis)
    return manifest_path


def _manifest(
    config: PipelineConfig,
    contents: Mapping[str, bytes],
    shards: Sequence[Shard],
    holdout: Sequence[HoldoutFile],
    counts: Counter[str],
) -> Manifest:
    """The manifest. What stands in a field of its own is left out of `config` and of `counters`.

    Args:
        config: the pipeline's settings.
        contents: of the vocabulary file and, if words are joined, of the phrases file, by name.
        shards: all of them.
        holdout: the files of held-out lines.
        counts: what was counted while they were written.
    """
    vocabulary, phrases = contents[VOCABULARY_FILE], contents.get(PHRASES_FILE)
    if phrases is not None:
        counts["phrases"] = len(parse_phrases(phrases))
    settings, counters = dataclasses.asdict(config), dict(sorted(counts.items()))
    return Manifest(
        example_format=settings.pop("example_format"),
        fields=format_of(config).fields(config),
        compression=settings.pop("compression"),
        window_size=settings.pop("window_size"),
        context_weights=format_of(config).context_weights(config),
        num_negatives=settings.pop("num_negatives"),
        passes=settings.pop("passes"),
        vocab_size=vocabulary.count(b"\n"),
        vocabulary_sha256=hashlib.sha256(vocabulary).hexdigest(),
        phrases_sha256="" if phrases is None else hashlib.sha256(phrases).hexdigest(),
        # A line may be cut into several, all of which can be held out.
        num_lines=max(1, counters.pop("lines_read") - counters.get("holdout_lines", 0)),
        num_words=counters.pop("words_read"),
        num_tokens=counters.pop("tokens_kept"),
        num_skip_grams=counters.pop("skip_grams"),
        counters=counters,
        config=settings,
        shards=tuple(shards),
        holdout=tuple(holdout),
    )


def _read(path: str) -> bytes:
    with gfile.GFile(path, "rb") as file:
        content: bytes = file.read()
    return content


def _files_below(directory: str) -> Iterator[str]:
    for folder, _, names in gfile.walk(directory):
        for name in names:
            yield os.path.join(folder, name)
