"""Trains word embeddings on a dataset of skip-grams, with Keras and TensorFlow alone.

    from trainer import TrainerConfig, UserError, load_vectors, train

    shards + manifest --> tf.data --> Keras fit --> embeddings --> word2vec .bin/.txt, projector .tsv, SavedModel

The modules, in the order of the data:

    dataset_layout.py   names the files and the reserved ids of a dataset
    checked_json.py     takes typed values out of JSON, and names the field that is wrong
    manifest.py         reads and checks the manifest of a dataset
    formats.py          knows how the two formats of examples differ
    dataset.py          opens a dataset, and checks that it is complete
    batches.py          streams the shards of a dataset as batches
    damage.py           finds out which shard is damaged, after training on it has failed
    model.py            is the skip-gram model: its two tables and one training step
    building.py         makes the model of a run, compiled, with batches of the right size
    initialization.py   draws the numbers that a table starts with
    warm_start.py       lets a run start from the vectors of an earlier one
    fused/              is the training step on a CPU as one compiled function, in C
    train_function.py   runs several steps at once, and brings batches to a GPU ahead of them
    losses.py           turns the step's products into the loss and its gradient
    optimizer.py        updates only the rows that a step has used
    row_blocks.py       reads and writes a table block by block, without a second one
    bundle.py           writes and reads parts of tensors in TensorFlow's checkpoint format
    checkpoints.py      saves the state of a run, and restores it
    resume.py           decides where a run begins: at the start, at a checkpoint, or not at all
    divergence.py       ends a run whose loss has left every bound
    throughput.py       measures how fast the training goes
    curves.py           writes the curves of a run for TensorBoard
    progress.py         tells how far the training is, while Keras trains
    save_checkpoints.py saves checkpoints meanwhile
    tables.py           gives the trained tables away, block by block
    checked_file.py     writes a file and reads it back
    export_formats.py   is what the formats with vectors have in common, and has the simple ones among them
    static_embedding.py writes the folder that sentence-transformers loads
    tokenizer_json.py   makes the tokenizer in this folder
    vector_search.py    writes the folder that Vertex AI Vector Search makes an index of
    export.py           writes all formats that are asked for, and replaces older files when all are complete
    projector.py        writes the most frequent words for TensorBoard's Projector
    files.py            opens files of this machine, and of object stores with TensorFlow
    word2vec_format.py  reads and writes word2vec's files, and looks up words and their neighbours
    word2vec_parser.py  checks the contents of such files while it parses them
    state.py            reads what a model keeps so that training can go on from it
    embedding_model.py  is the graph of the SavedModel: text to vectors, and words to neighbours
    saved_model.py      writes the SavedModel, which TensorFlow and model servers load
    layout.py           names the files in the model directory
    places.py           opens the directories that a run writes to
    preflight.py        checks the dataset, the model directory and the memory before a run touches anything
    training.py         runs all of these, from the dataset to the exported files

Whether a model is good:

    next_item.py        ranks the items that come next in sessions, and turns the ranks into metrics
    holdout.py          reads the held-out lines of a dataset, which are such sessions
    comparison.py       compares models on sessions, with each other and with the popularity of items
    model_files.py      reads models for such comparisons
    bootstrap.py        tells how far a mean over sessions may be from the truth
    skip_gram_sample.py draws skip-grams of held-out lines, and computes their loss
    scores.py           scores a model after each epoch, and stops when it gets no better
    word_tasks.py       scores word vectors on word similarity and analogies
    report/             is the page that shows a run and its words, and the command that writes it

Several devices, each with a process of its own:

    launcher.py         starts one process for each device of this machine, and waits for them
    member.py           is the command that it starts
    cluster.py          reads from TF_CONFIG which processes train together
    meeting.py          waits until all have come, and compares what they are going to do
    group.py            connects them by TensorFlow: what they add up, tell each other and decide
    columns.py          says which columns of the tables a process holds

What the commands and the Python API consist of:

    errors.py           defines UserError, for mistakes that the user can correct, and tells other errors in one line
    interrupt.py        ends a command in an orderly way when Ctrl-C or SIGTERM interrupts it
    lock.py             keeps two runs from writing to one output
    limits.py           tells how much memory a process may use
    plain_path.py       spells a path so that TensorFlow can use it
    settings.py         makes flags, checks and help texts from the fields of a dataclass
    config.py           holds the settings of one run: TrainerConfig
    devices.py          tells TensorFlow how to use the processor, before it is imported
    news.py             tells how a run goes: by logging, and on a terminal by a line that shows what happens now
    console.py          has what the commands share: how they tell mistakes, and their --version
    api.py              is `train` for other programs
    task.py             is the command that trains
    neighbors.py        is the command that prints nearest neighbours
    evaluate.py         is the command that scores models on sessions, word similarity and analogies, and compares them

The dataset directory is all that this package shares with the pipeline. Importing this package does not import
TensorFlow. The first call of `train` does.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.api import train
    from trainer.config import TrainerConfig
    from trainer.errors import UserError
    from trainer.word2vec_format import load as load_vectors

__all__ = ["TrainerConfig", "UserError", "load_vectors", "train"]

_PLACES = {
    "TrainerConfig": ("trainer.config", "TrainerConfig"),
    "UserError": ("trainer.errors", "UserError"),
    "load_vectors": ("trainer.word2vec_format", "load"),
    "train": ("trainer.api", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
