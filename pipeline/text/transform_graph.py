"""Makes the transform graph: a TensorFlow SavedModel that turns lines of text into ids.

It holds the tokeniser, the tables that look phrases and words up, and their asset files: the vocabulary file, and the
phrases file if words are joined. TensorFlow Transform (TFT) makes it from `_lines_to_ids`. TFT learns what a graph
needs to know of a dataset by analyzers, which are parts of the Beam graph. The dataset that it gets here is one line,
the path of the vocabulary file. An analyzer gives this path, and another the path of the phrases file beside it.
"""

import functools
import os

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

from pipeline.config import PipelineConfig
from pipeline.dataset.layout import IDS, PHRASES_FILE, TEXT, VOCABULARY_FILE
from pipeline.dataset.phrases import phrase_lines
from pipeline.dataset.vocabulary import vocabulary_lines
from pipeline.text.look_up import look_up, vocabulary_table
from pipeline.text.phrases import join_phrases, phrase_table
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

    The phrases file, if there are phrases, is in the same directory as the vocabulary file.
    The graph turns lines [N] into ragged ids [N, words].

    Args:
        config: the pipeline's settings.
        temp_dir: a directory that all workers share. The graph is written to it.
        num_rounds: in how many rounds phrases are joined; 0 if there is no phrases file.
    """

    def __init__(self, config: PipelineConfig, temp_dir: str, num_rounds: int = 0) -> None:
        super().__init__()
        self._config = config
        self._temp_dir = temp_dir
        self._num_rounds = num_rounds

    def expand(self, vocabulary_file: beam.PCollection[str]) -> beam.PCollection[str]:
        batches = vocabulary_file | "AsBatch" >> beam.Map(_as_batch)  # pa.RecordBatch
        with tft_beam.Context(temp_dir=self._temp_dir):
            transform_fn, _ = (batches, _TEXT_COLUMN) | tft_beam.AnalyzeDataset(
                functools.partial(_lines_to_ids, config=self._config, num_rounds=self._num_rounds)
            )
        return transform_fn  # str


def _as_batch(line: str) -> pa.RecordBatch:
    """A dataset of one line, as TFT takes it."""
    row = pa.LargeListArray.from_arrays([0, 1], pa.array([line.encode()], pa.large_binary()))
    return pa.RecordBatch.from_arrays([row], [TEXT])


def _lines_to_ids(inputs: dict[str, tf.Tensor], config: PipelineConfig, num_rounds: int) -> dict[str, tf.RaggedTensor]:
    """TFT's preprocessing function. TFT traces it once; the traced operations are the transform graph."""
    phrases_file = _file(inputs, PHRASES_FILE, b"".join(phrase_lines([]))) if num_rounds else None
    vocabulary_file = _file(inputs, VOCABULARY_FILE, b"".join(vocabulary_lines([], 0)))

    def look_up_in_files(words: tf.RaggedTensor, path: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        if phrases_file is not None:
            words = join_phrases(words, phrase_table(phrases_file).lookup, num_rounds)
        table = vocabulary_table(path)
        return look_up(words, table), table.size()

    tokens = tokenize(inputs[TEXT], config.tokenizer)
    return {IDS: tft.apply_vocabulary(tokens, vocabulary_file, lookup_fn=look_up_in_files)}


def _file(inputs: dict[str, tf.Tensor], name: str, placeholder: bytes) -> tf.Tensor:
    """The path of an asset file, which is in the directory of the vocabulary file.

    Args:
        inputs: those of the preprocessing function.
        name: of the file.
        placeholder: what TFT takes for the contents as long as there is no such file.
    """
    (path,) = tft.experimental.ptransform_analyzer(
        [inputs[TEXT]],
        _TakeFile(name),
        output_dtypes=[tf.string],
        output_shapes=[[]],
        output_asset_default_values=[placeholder],
    )
    return path


class _TakeFile(tft_beam.experimental.PTransformAnalyzer):
    """The only line of the dataset, the path of a file as an array [1] -> the path of a file beside it, an array []."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def expand(self, batches: beam.PCollection[tuple[np.ndarray]]) -> beam.PCollection[np.ndarray]:
        return batches | "Beside" >> beam.Map(lambda batch: np.array(_beside(batch[0][0], self._name)))


def _beside(path: bytes, name: str) -> bytes:
    return os.path.join(os.path.dirname(path), name.encode())
