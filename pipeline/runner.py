"""Checks before a job, the job, and the summary after it."""

import logging
import os
import time
import uuid
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, SetupOptions, StandardOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners import create_runner
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState

from pipeline import graph, manifest
from pipeline.config import FIRST_WORD_ID, PipelineConfig
from pipeline.errors import UserError
from pipeline.ingest import check_inputs

logger = logging.getLogger("pipeline")


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
    if _is_dataflow(runner):  # before Beam's own checks, which ask Google, and as somebody
        _check_cloud_paths(config, options)
        _check_credentials(options)
    if errors := PipelineOptionsValidator(options, runner).validate():
        raise UserError(f"Beam's flags: {' '.join(' '.join(errors).split())}")
    FileSystems.set_options(options)  # whose account to read as
    check_inputs(config.input)
    if writes:
        manifest.check_output(config.output, config.overwrite)


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


def _is_dataflow(runner: PipelineRunner) -> bool:
    return type(runner).__name__ == "DataflowRunner"  # whose class cannot be imported where Google's clients are absent


def run(config: PipelineConfig, beam_flags: Sequence[str]) -> str:
    """Runs the job to its end; on Dataflow, whose jobs need nobody who waits for them, submits it.

    Args:
        config: the settings.
        beam_flags: Beam's command-line flags.

    Returns:
        A summary for people.
    """
    start = time.perf_counter()
    logger.info("reading %s", " ".join(config.input))
    output = config.output if "://" in config.output else os.path.abspath(config.output)  # wherever a worker is started
    partial = manifest.partial_dir(output, uuid.uuid4().hex[:8])
    options = pipeline_options(beam_flags)
    pipeline = beam.Pipeline(options=options)
    graph.build(pipeline, config, partial)
    try:
        result = pipeline.run()
        if _is_dataflow(pipeline.runner):
            return _submission(config, options, result)
        state = result.wait_until_finish()
        if state != PipelineState.DONE:
            raise RuntimeError(f"the job ended as {state}")
    except BaseException:
        manifest.remove_partial(partial)
        raise
    return summary(manifest.read_manifest(config.output), _worker_seconds(result), time.perf_counter() - start)


def _submission(config: PipelineConfig, options: PipelineOptions, result: PipelineResult) -> str:
    """What is said of a job that goes on without this process."""
    cloud = options.view_as(GoogleCloudOptions)
    if not result.has_job:
        return f"template    {cloud.template_location}"
    url = f"https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{result.job_id()}?project={cloud.project}"
    return (
        f"job         {result.job_id()}\n"
        f"follow it   {url}\n"
        f"dataset     {config.output}, complete as soon as {manifest.MANIFEST_FILE} is there"
    )


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


def _worker_seconds(result: PipelineResult) -> dict[str, float]:
    """The workers' time in each stage, added up, as far as the runner tells."""
    seconds = {}
    for counter in result.metrics().query()["counters"]:
        stage, is_time, _ = counter.key.metric.name.partition("_worker_ms")
        if is_time:
            seconds[stage] = counter.result / 1000
    return seconds


def summary(contents: dict, worker_seconds: dict[str, float], seconds: float) -> str:
    """What a finished run says: the dataset's numbers from its manifest, and the time that it took."""
    counters = contents["counters"]
    num_words, skip_grams = contents["num_words"], contents["num_skip_grams"]
    num_known = num_words - counters["words_oov"] // contents["passes"]
    num_bytes = sum(shard["bytes"] for shard in contents["shards"])
    lines = [
        ("lines", f"{contents['num_lines']:,}"),
        ("words", f"{num_words:,}"),
        ("vocabulary", f"{contents['vocab_size'] - FIRST_WORD_ID:,} words, {num_known / num_words:.1%} of the text"),
        ("tokens kept", f"{contents['num_tokens']:,} in {_times(contents['passes'], 'pass', 'passes')}"),
        ("skip-grams", f"{skip_grams:,}, {num_bytes / skip_grams:.2f} bytes each"),
        ("shards", f"{len(contents['shards'])}, {num_bytes / 1e6:,.1f} MB"),
        ("time", f"{seconds:.1f} s" + "".join(f", {stage} {s:.2f} worker-s" for stage, s in worker_seconds.items())),
    ]
    mended = [f"{value:,} {name}" for name, value in counters.items() if value and name in _REMARKABLE]
    if mended:
        lines.append(("survived", ", ".join(mended)))
    lines.append(("dataset", contents["config"]["output"]))
    return "\n".join(f"{name:<12}{value}" for name, value in lines)


_REMARKABLE = (
    "byte_order_marks",
    "lines_crlf",
    "lines_cut",
    "lines_empty",
    "lines_invalid_utf8",
    "lines_unterminated",
    "lines_with_nul",
    "sentences_split",
    "tokens_dropped_alone",
)


def _times(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
