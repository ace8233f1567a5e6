"""What is checked before a job starts: Beam's flags, the Google credentials, the input and the output."""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence

import tensorflow as tf
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, SetupOptions, StandardOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners import create_runner
from apache_beam.runners.runner import PipelineRunner
from tensorflow.io import gfile

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import CONTENTS, MANIFEST_FILE, PARTIAL_PREFIX
from pipeline.errors import UserError
from pipeline.job.folders import check_plain
from pipeline.lock import LOCK_FILE, locked
from pipeline.text.given_phrases import read_given_phrases
from pipeline.text.given_vocabulary import read_given
from pipeline.text.inputs import check_inputs, reads_output
from pipeline.text.tables import check_tables


def check(config: PipelineConfig, beam_flags: Sequence[str] = (), writes: bool = True) -> None:
    """Checks all that can be checked before a job is built.

    Args:
        config: the settings.
        beam_flags: Beam's command-line flags.
        writes: whether to check the output as well. A plan does not write it.

    Raises:
        UserError: an input matches no file, the output cannot be written without loss, or a flag of Beam is missing.
    """
    options = pipeline_options(beam_flags, config)
    runner = create_runner(options.view_as(StandardOptions).runner)
    if is_dataflow(runner):  # Beam's own checks come later, because they already send requests to Google
        _check_cloud_paths(config, options)
        _check_credentials(options)
    if errors := PipelineOptionsValidator(options, runner).validate():
        raise UserError(f"Beam's flags: {' '.join(' '.join(errors).split())}")
    FileSystems.set_options(options)  # they say with which account to read
    check_paths(config, options, runner, writes)


def check_paths(config: PipelineConfig, options: PipelineOptions, runner: PipelineRunner, writes: bool = True) -> None:
    """Checks the input and the output.

    Args:
        config: the settings.
        options: Beam's options.
        runner: the runner that is to run the job.
        writes: whether to check the output as well.

    Raises:
        UserError: an input matches no file, the given vocabulary cannot be used, the output cannot be written without
            loss, or flags contradict each other.
    """
    for flag, path in _paths(config):
        if not _is_utf8(path):
            raise UserError(f"{flag} {path!a}: expected a path in UTF-8")
    if is_dataflow(runner):
        _check_cloud_paths(config, options)
    if config.holdout == 1:
        raise UserError("--holdout 1 leaves no line to train on: expected a share below 1")
    if config.grow_vocabulary and not config.vocabulary:
        raise UserError("--grow_vocabulary has no vocabulary to grow: expected --vocabulary with it")
    check_inputs(config.input)
    check_tables(config)
    if config.vocabulary:
        read_given(config)  # it raises UserError
        read_given_phrases(config)
    if writes:
        if pattern := reads_output(config.input, config.output):
            raise UserError(
                f"--input {pattern} also matches files of --output {config.output}: expected an output that no --input "
                "matches"
            )
        check_plain(config.output, runner)
        check_output(config.output, config.overwrite)


@contextlib.contextmanager
def reserved_output(config: PipelineConfig) -> Iterator[None]:
    """Keeps other runs from writing to the output during the block.

    Args:
        config: the settings, whose output `check` has found to be good.

    Raises:
        UserError: another run writes to the output, or has written a dataset there since the check.
    """
    with locked(config.output, "--output"):
        check_output(config.output, config.overwrite)
        yield


def _paths(config: PipelineConfig) -> Iterator[tuple[str, str]]:
    """The flag that names each path, and the path."""
    for path in config.input:
        yield "--input", path
    yield "--output", config.output
    if config.vocabulary:
        yield "--vocabulary", config.vocabulary


def _check_cloud_paths(config: PipelineConfig, options: PipelineOptions) -> None:
    """Raises UserError for a path that Dataflow's workers cannot reach."""
    if "googleapis.com" not in options.view_as(GoogleCloudOptions).dataflow_endpoint:
        return  # tests replace Dataflow by a server on this machine
    for flag, path in _paths(config):
        if "://" not in path:
            raise UserError(
                f"{flag} {path} is on this machine: Dataflow's workers need a path such as gs://BUCKET/{path.lstrip('/')}"
            )


def _check_credentials(options: PipelineOptions) -> None:
    """Raises UserError if there are no Google credentials. Beam would search for half a minute, then go on without."""
    if options.view_as(GoogleCloudOptions).no_auth:
        return
    import google.auth  # takes time, and is only needed here

    logging.getLogger("google.auth").setLevel(logging.ERROR)  # it warns of each place that has no credentials
    try:
        google.auth.default()
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise UserError(
            "--runner DataflowRunner: there are no Google credentials here: run gcloud auth application-default login"
        ) from error


def check_output(output: str, overwrite: bool) -> None:
    """Makes the output directory if it does not exist yet.

    Args:
        output: the directory.
        overwrite: whether a dataset that is in it may be replaced.

    Raises:
        UserError: it cannot be a directory, cannot be written to, holds a dataset that may not be replaced, or holds
            files of something else.
    """
    bucket = "/".join(output.split("/")[:3]) + "/" if "://" in output else ""
    try:
        if bucket and not gfile.exists(bucket):  # makedirs would search for the bucket forever
            raise UserError(f"--output {output}: the bucket {bucket} does not exist")
        if not gfile.exists(output):
            gfile.makedirs(output)
        entries = [entry.rstrip("/") for entry in gfile.listdir(output)]
    except tf.errors.OpError as error:
        raise UserError(f"--output {output} cannot be used as a directory: {error.message}") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"--output {output} holds a file whose name is not UTF-8: expected a new or an empty directory"
        ) from error
    if MANIFEST_FILE in entries and not overwrite:
        raise UserError(f"--output {output} already holds a dataset: name another, or add --overwrite to replace it")
    foreign = sorted(
        entry for entry in entries if entry not in (*CONTENTS, LOCK_FILE) and not entry.startswith(PARTIAL_PREFIX)
    )
    if foreign:
        raise UserError(
            f"--output {output} holds {foreign[0]}, which belongs to no dataset: expected a new or an empty directory"
        )
    for folder, _, _ in os.walk(output):  # nothing if the output is not on this machine
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(f"--output {output}: {folder} cannot be written to: change its permissions")


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_dataflow(runner: PipelineRunner) -> bool:
    """Whether a runner sends jobs to Google Cloud's Dataflow, where they run without this process."""
    return type(runner).__name__ == "DataflowRunner"  # the class can only be imported where Google's clients are there


def pipeline_options(beam_flags: Sequence[str], config: PipelineConfig) -> PipelineOptions:
    """Beam's options: its flags, the defaults that this pipeline needs, and the settings, which consoles show."""
    # This makes the settings known to Beam as options of this process. A program that only uses BuildDataset may have
    # options of the same names.
    from pipeline.job.beam_options import JobOptions, option_values

    options = JobOptions(list(beam_flags), **option_values(config))
    # All DoFns are in modules, so workers need nothing from __main__.
    options.view_as(SetupOptions).save_main_session = False
    standard = options.view_as(StandardOptions)
    if standard.runner in (None, "DirectRunner"):
        # DirectRunner may fetch and execute a binary; the runner that it otherwise falls back to does not.
        standard.runner = "FnApiRunner"
    return options
