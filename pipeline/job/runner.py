"""Runs the job on the runner that Beam's flags choose, until the dataset is complete."""

import logging
import threading
import time
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import MANIFEST_FILE
from pipeline.dataset.read import read_manifest
from pipeline.interrupt import cleaning_up
from pipeline.job.display import showing_progress
from pipeline.job.folders import remove_folders, remove_folders_of_threads
from pipeline.job.graph import BuildDataset
from pipeline.job.local_runner import LocalRunner, choose_workers
from pipeline.job.preflight import is_dataflow, pipeline_options
from pipeline.job.summary import summary
from pipeline.text.tables import files_to_read

logger = logging.getLogger("pipeline")


def run(config: PipelineConfig, beam_flags: Sequence[str]) -> str:
    """Runs the job to its end. On Dataflow it only submits the job, which goes on without this process.

    It does not check input and output: preflight.check does.

    Args:
        config: the settings.
        beam_flags: Beam's command-line flags.

    Returns:
        A summary for people.

    Raises:
        Exception: the job failed; the type depends on the runner. Nothing is left of the job in the output.
    """
    start = time.perf_counter()
    logger.info("reading %s", " ".join(config.input))
    options = pipeline_options(beam_flags, config)
    is_local = options.view_as(StandardOptions).runner == "FnApiRunner"
    input_bytes = sum(file.size for file in files_to_read(config)) if is_local else 0
    if is_local:
        choose_workers(options, beam_flags, config, input_bytes)
    pipeline = beam.Pipeline(runner=LocalRunner() if is_local else None, options=options)
    dataset = BuildDataset(config)
    result: PipelineResult | None = None

    def stop() -> None:
        if result is not None:
            _cancel(result)
        remove_folders_of_threads(dataset.partial, dataset.analysis)

    with cleaning_up(stop), showing_progress(config, input_bytes):
        try:
            # `pipeline | dataset` would put the steps a level deeper, where Dataflow's console does not show them at
            # once.
            dataset.connect(beam.pvalue.PBegin(pipeline))
            result = pipeline.run()
            if is_dataflow(pipeline.runner):
                return _submission(config, options, result)
            state = result.wait_until_finish()
            if state != PipelineState.DONE:
                raise RuntimeError(f"the job ended as {state}")
        except BaseException:
            remove_folders(dataset.partial, dataset.analysis)
            raise
    seconds = time.perf_counter() - start
    return summary(read_manifest(config.output), config.output, _worker_seconds(result), seconds)


def _cancel(result: PipelineResult) -> None:
    """Cancels a job that another process runs. It waits for a second, for the runner may be out of reach."""
    thread = threading.Thread(target=result.cancel, daemon=True)
    thread.start()
    thread.join(1)


def _submission(config: PipelineConfig, options: PipelineOptions, result: PipelineResult) -> str:
    """What to tell the user about a job that goes on without this process."""
    cloud = options.view_as(GoogleCloudOptions)
    if not result.has_job:
        return f"template    {cloud.template_location}"
    url = f"https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{result.job_id()}?project={cloud.project}"
    return (
        f"job         {result.job_id()}\n"
        f"follow it   {url}\n"
        f"dataset     {config.output}, complete as soon as {MANIFEST_FILE} is there"
    )


def _worker_seconds(result: PipelineResult) -> dict[str, float]:
    """The seconds that all workers together spent in each stage; empty if the runner does not tell."""
    seconds: dict[str, float] = {}
    for counter in result.metrics().query()["counters"]:
        stage, is_time, _ = counter.key.metric.name.partition("_worker_ms")
        if is_time:
            seconds[stage] = counter.result / 1000
    return seconds
