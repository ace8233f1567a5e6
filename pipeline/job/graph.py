"""The Beam graph: how the steps of the job are connected."""

import dataclasses
import os
import uuid

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import partial_folder
from pipeline.examples.shards import WriteShards
from pipeline.job import preflight
from pipeline.job.folders import make_analysis_folder
from pipeline.job.publish import Publish, current_state
from pipeline.text.count_words import CountWords
from pipeline.text.files import MakeRanges
from pipeline.text.given_phrases import copy_given_phrases, num_rounds
from pipeline.text.given_vocabulary import absolute
from pipeline.text.inputs import FindFiles
from pipeline.text.learn_phrases import LearnPhrases
from pipeline.text.sources import Source
from pipeline.text.transform_graph import MakeTransformGraph


class BuildDataset(beam.PTransform):
    """Makes a dataset of skip-grams from text files. It is the first transform of a Beam pipeline:

        config = PipelineConfig(input=("corpus/*.txt",), output="DATASET")
        with beam.Pipeline() as pipeline:
            pipeline | BuildDataset(config)

    The result is a PCollection of one str, the path of the manifest. It exists once the dataset is complete, so steps
    that read the dataset can follow. The dataset is the one that `python -m pipeline` makes: the command uses this
    transform. It does three things more. It checks Beam's options and the Google credentials, it prints a summary, and
    it removes the partial folder of a failed job at once. Without the command, the partial folder of a failed job stays
    in the output until a later job to the same output succeeds. It does no harm there.

    A mistake that only a worker can find, such as a damaged file, ends the job. The type of the exception then depends
    on the runner, but its text contains the message of the UserError.

    Args:
        config: the settings.

    Attributes:
        partial: the job's partial folder: a new directory in config.output, which all workers must share. The job
            writes everything there until the dataset is complete.
        analysis: a folder in there, for what is only needed to count the words. If the path of config.output has
            characters on which TensorFlow fails, it is a new folder of this machine's directory for temporary files,
            with a plain path. It is empty until the transform is applied.

    Raises:
        UserError: the transform is applied, but an input matches no file or the output cannot be written without loss.
    """

    def __init__(self, config: PipelineConfig) -> None:
        super().__init__()
        self._config = config
        # A worker may run in another working directory.
        output = config.output if "://" in config.output else os.path.abspath(config.output)
        self.partial = partial_folder(output, uuid.uuid4().hex[:8])
        self.analysis = ""

    def expand(self, start: beam.pvalue.PBegin) -> beam.PCollection[str]:
        preflight.check_paths(self._config, start.pipeline.options, start.pipeline.runner)
        return self.connect(start)

    def connect(self, start: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Adds the steps to a pipeline without a check. The command has checked input and output already."""
        config, partial = self._config, self.partial
        self.analysis = make_analysis_folder(partial)
        files = start | "FindFiles" >> FindFiles(config.input)  # FoundFile
        ranges = files | "MakeRanges" >> MakeRanges(config.input, Source.of(config))  # TextRange
        phrases, rounds = None, num_rounds(config)
        if config.phrases:
            phrases = ranges | "Phrases" >> LearnPhrases(config, self.analysis)  # str
        elif rounds:
            given = dataclasses.replace(config, vocabulary=absolute(config.vocabulary))
            phrases = (
                start
                | "GivenPhrases" >> beam.Create([given])  # PipelineConfig
                | "CopyPhrases" >> beam.Map(copy_given_phrases, self.analysis)  # str
            )
        vocabulary = ranges | "Vocabulary" >> CountWords(config, self.analysis, phrases)  # str
        transform_fn = vocabulary | "TransformGraph" >> MakeTransformGraph(config, self.analysis, rounds)  # str
        # TensorFlow has one list of the tables of a graph for all threads of a process. So no thread may load the
        # vocabulary into a table while another one makes the transform graph.
        after = vocabulary | "AfterGraph" >> beam.Map(_first, beam.pvalue.AsSingleton(transform_fn))  # str
        shards = ranges | "SkipGrams" >> WriteShards(config, after, partial)  # WrittenShard
        # A template is built once and runs many times, and each run may replace the dataset of the one before.
        is_template = bool(start.pipeline.options.view_as(GoogleCloudOptions).template_location)
        before = None if is_template else current_state(os.path.dirname(partial))
        return shards | "Publish" >> Publish(config, transform_fn, files, partial, self.analysis, before)  # str


def _first(path: str, _: str) -> str:
    return path
