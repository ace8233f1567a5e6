"""What can be checked before a job is built: flags of Beam, the input, the output, who is logged in."""

import logging
from collections.abc import Sequence

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
from pipeline.text.files import check_inputs


def check(config: PipelineConfig, beam_flags: Sequence[str] = (), writes: bool = True) -> None:
    """Checks what can be checked before a job is built.

    Args:
        config: the settings.
        beam_flags: Beam's command-line flags.
        writes: whether the output is to be written; a plan leaves it alone.

    Raises:
        UserError: the input is not there, the output cannot be written without loss, or Beam lacks a flag.
    """
    options = pipeline_options(beam_flags)
    runner = create_runner(options.view_as(StandardOptions).runner)
    if is_dataflow(runner):  # before Beam's own checks, which ask Google, and as somebody
        _check_cloud_paths(config, options)
        _check_credentials(options)
    if errors := PipelineOptionsValidator(options, runner).validate():
        raise UserError(f"Beam's flags: {' '.join(' '.join(errors).split())}")
    FileSystems.set_options(options)  # whose account to read as
    check_inputs(config.input)
    if writes:
        check_output(config.output, config.overwrite)


def _check_cloud_paths(config: PipelineConfig, options: PipelineOptions) -> None:
    """Raises UserError for a path that only this machine has."""
    if "googleapis.com" not in options.view_as(GoogleCloudOptions).dataflow_endpoint:
        return  # a stand-in for the service, on this machine
    for flag, path in (*(("--input", path) for path in config.input), ("--output", config.output)):
        if "://" not in path:
            raise UserError(
                f"{flag} {path} is on this machine: Dataflow's workers need a path such as gs://BUCKET/{path.lstrip('/')}"
            )


def _check_credentials(options: PipelineOptions) -> None:
    """Raises UserError if nobody is logged in: Beam would try for half a minute, and then go on as nobody."""
    if options.view_as(GoogleCloudOptions).no_auth:
        return
    import google.auth  # needed here alone

    logging.getLogger("google.auth").setLevel(logging.ERROR)  # it warns of each place that has no credentials
    try:
        google.auth.default()
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise UserError(
            "--runner DataflowRunner: there are no Google credentials here: run gcloud auth application-default login"
        ) from error


def check_output(output: str, overwrite: bool) -> None:
    """Raises UserError if a dataset cannot be written to `output` without loss."""
    bucket = "/".join(output.split("/")[:3]) + "/" if "://" in output else ""
    try:
        if bucket and not gfile.exists(bucket):  # makedirs would look for it without end
            raise UserError(f"--output {output}: there is no {bucket}")
        if not gfile.exists(output):
            gfile.makedirs(output)
        entries = [entry.rstrip("/") for entry in gfile.listdir(output)]
    except tf.errors.OpError as error:
        raise UserError(f"--output {output} cannot be used as a directory: {error.message}") from error
    if MANIFEST_FILE in entries and not overwrite:
        raise UserError(f"--output {output} already holds a dataset: name another, or add --overwrite to replace it")
    foreign = sorted(entry for entry in entries if entry not in CONTENTS and not entry.startswith(PARTIAL_PREFIX))
    if foreign:
        raise UserError(
            f"--output {output} holds what is not a dataset's ({foreign[0]}): expected a new or an empty directory"
        )


def is_dataflow(runner: PipelineRunner) -> bool:
    """Whether jobs go to Google Cloud's Dataflow, where they run without this process."""
    return type(runner).__name__ == "DataflowRunner"  # whose class cannot be imported where Google's clients are absent


def pipeline_options(beam_flags: Sequence[str]) -> PipelineOptions:
    """Beam's options, with the defaults that this pipeline wants."""
    options = PipelineOptions(list(beam_flags))
    # All DoFns are in modules, so workers need nothing from __main__.
    options.view_as(SetupOptions).save_main_session = False
    standard = options.view_as(StandardOptions)
    if standard.runner in (None, "DirectRunner"):
        # DirectRunner may fetch and execute a binary; the runner that it otherwise falls back to does not.
        standard.runner = "FnApiRunner"
    return options
