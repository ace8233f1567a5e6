"""The job, from a graph to a complete dataset, on any of Beam's runners."""

import logging
import os
import time
import uuid
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import MANIFEST_FILE, partial_folder
from pipeline.dataset.manifest import read_manifest
from pipeline.job import graph
from pipeline.job.preflight import is_dataflow, pipeline_options
from pipeline.job.publish import remove_partial
from pipeline.job.summary import summary

logger = logging.getLogger("pipeline")


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
    partial = partial_folder(output, uuid.uuid4().hex[:8])
    options = pipeline_options(beam_flags)
    pipeline = beam.Pipeline(options=options)
    graph.build(pipeline, config, partial)
    try:
        result = pipeline.run()
        if is_dataflow(pipeline.runner):
            return _submission(config, options, result)
        state = result.wait_until_finish()
        if state != PipelineState.DONE:
            raise RuntimeError(f"the job ended as {state}")
    except BaseException:
        remove_partial(partial)
        raise
    return summary(read_manifest(config.output), _worker_seconds(result), time.perf_counter() - start)


def _submission(config: PipelineConfig, options: PipelineOptions, result: PipelineResult) -> str:
    """What is said of a job that goes on without this process."""
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
    """The workers' time in each stage, added up, as far as the runner tells."""
    seconds = {}
    for counter in result.metrics().query()["counters"]:
        stage, is_time, _ = counter.key.metric.name.partition("_worker_ms")
        if is_time:
            seconds[stage] = counter.result / 1000
    return seconds
