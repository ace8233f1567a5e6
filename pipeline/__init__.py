"""Turns text files into a dataset of skip-grams with negative samples, as an Apache Beam pipeline.

    from pipeline import BuildDataset, PipelineConfig, UserError

    text files --> byte ranges --> text blocks --> token ids --> subsampled ids --> skip-gram blocks --> TFRecord shards
                                       |                 ^                                                    |
                                       +-> vocabulary ---+ (saved tokenizer, counts)              manifest.json, last

The rooms of this house, in the order of the data. Each imports only from those further down in the second list.

    text/       finds the files, makes text of tables, cuts it into blocks of lines, counts words, and learns phrases
    examples/   turns the words of a block into skip-grams and writes them to shards
    plan/       estimates from a sample of the text what a job would come to
    job/        checks the input and output, runs all steps on Beam, and publishes the complete dataset
    inspection/ answers questions about a finished dataset

What all of them use, from the bottom up:

    errors.py      defines UserError, for mistakes that the user can correct, and tells other errors in one line
    interrupt.py   ends a command in an orderly way when Ctrl-C or SIGTERM interrupts it
    lock.py        keeps two runs from writing to one output
    limits.py      tells how much memory a process may use
    dataset/       defines the files of a dataset, which is all that the trainer gets to see
    streams.py     makes random generators that give every worker the same draws for the same key
    progress.py    adds up how much of the input the workers have done
    console.py     has what the commands share: how they tell mistakes, and their --version
    worker.py      prepares Beam's worker processes, keeps them quiet, and ends them with the command
    forks.py       starts worker processes on this machine as copies of the command's process
    settings.py    makes flags, checks and help texts from the fields of a dataclass
    config.py      holds the settings of one dataset: PipelineConfig

And on top:

    options.py     parses the command line into a PipelineConfig and Beam's own flags
    __main__.py    is the command `python -m pipeline`
    inspect.py     is the command that prints examples in words and answers questions about a dataset

Importing this package imports neither Beam nor TensorFlow. The first use of BuildDataset does.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig
    from pipeline.errors import UserError
    from pipeline.job.graph import BuildDataset

__all__ = ["BuildDataset", "PipelineConfig", "UserError"]

_MODULES = {"BuildDataset": "pipeline.job.graph", "PipelineConfig": "pipeline.config", "UserError": "pipeline.errors"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
