"""The parts of the benchmark that need TensorFlow, in processes of their own.

    python -m tests.benchmarks.parts tokenize '{"source": "corpus.txt", "output": "corpus.tok"}'

Arguments and results are JSON, and the functions' docstrings describe them.
"""

import dataclasses
import json
import sys
import time

import numpy as np

from tests.benchmarks.processes import config_of
from trainer import devices
from trainer.config import TrainerConfig

if __name__ == "__main__":  # not if tests import this module, because their process has other settings
    # As `python -m trainer.task` does, before TensorFlow is imported.
    devices.prepare(config_of(json.loads(sys.argv[2]).get("trainer_flags", "")).precision)

import tensorflow as tf

from pipeline.text.tokenizer import tokenize
from trainer import training
from trainer.batches import epoch_batches
from trainer.dataset import Dataset, open_dataset
from trainer.dataset_layout import FIRST_WORD_ID

_BYTES_AT_ONCE = 8 << 20
_WORDS_A_LINE = 20


def tokenize_file(source: str, output: str) -> dict:
    """Tokenises a text as `--tokenizer simple` does.

    Args:
        source: UTF-8 text with a sentence or document on each line.
        output: the file to write the tokens to, separated by single spaces; lines without words are left out.

    Returns:
        The numbers of words and lines in the output.
    """
    num_words = num_lines = 0
    with open(source, encoding="utf-8", errors="replace") as text, open(output, "wb") as file:
        while lines := text.readlines(_BYTES_AT_ONCE):
            words = tokenize(tf.constant([line.rstrip("\n") for line in lines]), "simple")
            words = tf.ragged.boolean_mask(words, words.row_lengths() > 0)
            for line in tf.strings.reduce_join(words, axis=1, separator=" ").numpy():
                file.write(line + b"\n")
            num_words += int(words.row_lengths().numpy().sum())
            num_lines += int(words.nrows())
    return {"words": num_words, "lines": num_lines}


def write_zipf_text(output: str, num_distinct: int, num_words: int) -> dict:
    """Writes a text of made-up words. Each occurs at least once, and their frequencies follow 1 / rank (Zipf's law)."""
    rng = np.random.default_rng(1)
    shares = np.cumsum(1 / np.arange(1, num_distinct + 1))
    drawn = np.searchsorted(shares, rng.random(max(0, num_words - num_distinct)) * shares[-1])
    words = rng.permutation(np.concatenate([np.arange(num_distinct), drawn]))
    with open(output, "w") as file:
        for start in range(0, len(words), _WORDS_A_LINE):
            file.write(" ".join(f"w{word}" for word in words[start : start + _WORDS_A_LINE]) + "\n")
    return {"words": len(words)}


def time_steps(data: str, small: int, large: int, runs: int, trainer_flags: str) -> list[dict]:
    """Times the training step with tables of two sizes, on the very same examples.

    A text with a larger vocabulary would also have other words in a batch, and more of them. Therefore both models get
    the batches of the same dataset. The large table is timed twice. The first time, ids are as they are, and only the
    size of the table differs. The second time, ids are spread evenly over the whole table, so that no two rows that are
    used share a page of memory.

    Args:
        data: a dataset whose vocabulary has `small` ids.
        small, large: how many rows the tables have.
        runs: how many times each case is timed. The cases take turns, and each time takes an epoch.
        trainer_flags: further flags for the trainer, in one string.

    Returns:
        For each run, the seconds per step in the cases `small`, `large` and `large_spread`.
    """
    dataset = open_dataset(data)
    if dataset.vocab_size != small:
        raise ValueError(f"{data} has a vocabulary of {dataset.vocab_size}, not {small}")
    config = config_of(trainer_flags)
    config = dataclasses.replace(config, batch_size=config.batch_size or dataset.default_batch_size(on_gpu=False))
    batches = list(epoch_batches(dataset, config.batch_size, config.seed, epoch=0).as_numpy_iterator())
    examples = {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
    stride = (large - FIRST_WORD_ID) // (small - FIRST_WORD_ID)
    spread = {name: _spread(values, stride) for name, values in examples.items()}

    models = {rows: _model(config, dataset, rows) for rows in (small, large)}
    cases = {
        name: (models[rows], tf.data.Dataset.from_tensor_slices(values))
        for name, rows, values in (
            ("small", small, examples),
            ("large", large, examples),
            ("large_spread", large, spread),
        )
    }
    for model, stream in cases.values():  # the first epoch compiles the step and makes the system provide the memory
        model.fit(stream, steps_per_epoch=len(batches), verbose=0, shuffle=False)
    results = []
    for _ in range(runs):
        results.append({})
        for name, (model, stream) in cases.items():
            start = time.perf_counter()
            model.fit(stream, steps_per_epoch=len(batches), verbose=0, shuffle=False)
            results[-1][name] = (time.perf_counter() - start) / len(batches)
    return results


def _model(config: TrainerConfig, dataset: Dataset, vocab_size: int):
    manifest = dataclasses.replace(dataset.manifest, vocab_size=vocab_size)
    return training.build_model(config, dataclasses.replace(dataset, manifest=manifest))[0]


def _spread(values: np.ndarray, stride: int) -> np.ndarray:
    """Spreads ids over a larger range. Only ids are int32; other arrays stay as they are."""
    if values.dtype != np.int32:
        return values
    return np.where(values < FIRST_WORD_ID, values, FIRST_WORD_ID + (values - FIRST_WORD_ID) * stride)


def read_epoch(data: str, batch_size: int, seed: int) -> dict:
    """Reads the trainer's input alone, as fast as it comes. The first epoch is not timed, since it costs more.

    TensorFlow counts the batches, because in training a tf.function takes them as well. A loop in Python would be
    slower than the input.

    Returns:
        batches_per_second, batches and seconds of the second epoch, from its start to its last batch.
    """
    dataset = open_dataset(data)
    for epoch in range(2):
        start = time.perf_counter()
        stream = epoch_batches(dataset, batch_size, seed, epoch)
        batches = int(stream.reduce(np.int64(0), lambda count, _: count + 1))
        seconds = time.perf_counter() - start
    return {"batches_per_second": batches / seconds, "batches": batches, "seconds": seconds}


def gpu_names() -> list[str]:
    """The names of the GPUs that TensorFlow can use."""
    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu).get("device_name", "unknown GPU") for gpu in gpus]


_FUNCTIONS = {
    function.__name__: function for function in (tokenize_file, write_zipf_text, time_steps, read_epoch, gpu_names)
}

if __name__ == "__main__":
    print(json.dumps(_FUNCTIONS[sys.argv[1]](**json.loads(sys.argv[2]))))
