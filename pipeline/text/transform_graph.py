"""Makes the transform graph: a TensorFlow SavedModel that turns lines of text into ids.

It holds the tokeniser, the table that looks words up, and one asset file: the vocabulary file. TensorFlow Transform
(TFT) makes it from `_lines_to_ids`. TFT learns what a graph needs to know of a dataset by analyzers, which are parts of
the Beam graph. The dataset that it gets here is one line, the path of the vocabulary file, and the analyzer gives this
line.
"""

import functools

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import IDS, TEXT
from pipeline.dataset.vocabulary import vocabulary_lines
from pipeline.text.look_up import look_up, vocabulary_table
from pipeline.text.tokenizer import tokenize

_TEXT_COLUMN = TensorAdapterConfig(
    pa.schema([(TEXT, pa.large_list(pa.large_binary()))]),
    {
        TEXT: schema_pb2.TensorRepresentation(
            dense_tensor=schema_pb2.TensorRepresentation.DenseTensor(column_name=TEXT, shape=schema_pb2.FixedShape())
        )
    },
)


class MakeTransformGraph(beam.PTransform):
    """The path of the vocabulary file -> the path of the transform graph, one str each.

    The graph turns lines [N] into ragged ids [N, words].

    Args:
        config: the pipeline's settings.
        temp_dir: a directory that all workers share. The graph is written to it.
    """

    def __init__(self, config: PipelineConfig, temp_dir: str) -> None:
        super().__init__()
        self._config = config
        self._temp_dir = temp_dir

    def expand(self, vocabulary_file: beam.PCollection[str]) -> beam.PCollection[str]:
        batches = vocabulary_file | "AsBatch" >> beam.Map(_as_batch)  # pa.RecordBatch
        with tft_beam.Context(temp_dir=self._temp_dir):
            transform_fn, _ = (batches, _TEXT_COLUMN) | tft_beam.AnalyzeDataset(
                functools.partial(_lines_to_ids, config=self._config)
            )
        return transform_fn  # str


def _as_batch(line: str) -> pa.RecordBatch:
    """A dataset of one line, as TFT takes it."""
    row = pa.LargeListArray.from_arrays([0, 1], pa.array([line.encode()], pa.large_binary()))
    return pa.RecordBatch.from_arrays([row], [TEXT])


def _lines_to_ids(inputs: dict[str, tf.Tensor], config: PipelineConfig) -> dict[str, tf.RaggedTensor]:
    """TFT's preprocessing function. TFT traces it once; the traced operations are the transform graph."""
    (vocabulary_file,) = tft.experimental.ptransform_analyzer(
        [inputs[TEXT]],
        _TakeLine(),
        output_dtypes=[tf.string],
        output_shapes=[[]],
        output_asset_default_values=[b"".join(vocabulary_lines([], 0))],
    )

    def look_up_in_file(words: tf.RaggedTensor, path: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        table = vocabulary_table(path)
        return look_up(words, table), table.size()

    tokens = tokenize(inputs[TEXT], config.tokenizer)
    return {IDS: tft.apply_vocabulary(tokens, vocabulary_file, lookup_fn=look_up_in_file)}


class _TakeLine(tft_beam.experimental.PTransformAnalyzer):
    """The only line of the dataset, an array [1] -> the line, an array []."""

    def expand(self, batches: beam.PCollection[tuple[np.ndarray]]) -> beam.PCollection[np.ndarray]:
        return batches | "Line" >> beam.Map(lambda batch: batch[0][0])
