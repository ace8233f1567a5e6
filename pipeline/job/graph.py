"""The Beam graph: wiring, nothing else."""

import os

import apache_beam as beam

from pipeline.config import PipelineConfig
from pipeline.examples.shards import WriteShards
from pipeline.job.publish import Publish
from pipeline.text.count_words import AnalyzeText
from pipeline.text.files import FindRanges


def build(pipeline: beam.Pipeline, config: PipelineConfig, partial: str) -> None:
    """Adds to `pipeline` all steps from the text files to the complete dataset.

    Args:
        pipeline: an empty Beam pipeline.
        config: the settings.
        partial: a new directory in config.output for what is not complete; all workers share it.
    """
    ranges = pipeline | "FindRanges" >> FindRanges(config.input)  # TextRange
    transform_fn = ranges | "Vocabulary" >> AnalyzeText(config, os.path.join(partial, "analysis"))  # str
    shards = ranges | "SkipGrams" >> WriteShards(config, transform_fn, partial)  # Shard
    _ = shards | "Publish" >> Publish(config, transform_fn, partial)
