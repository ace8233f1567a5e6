"""What `from trainer import train` imports: training from a program or a notebook."""

import os
import sys
from typing import Any

from trainer import cluster, devices, launcher
from trainer.config import TrainerConfig
from trainer.layout import METRICS_FILE

# The program may import TensorFlow between this import and the call of `train`.
if "tensorflow" not in sys.modules:
    devices.prepare(TrainerConfig.precision)


def train(config: TrainerConfig, *, verbose: bool = False) -> dict[str, Any]:
    """Trains embeddings on a dataset and exports them, as the command `python -m trainer.task` does.

    As for the command, TensorFlow is told how many threads to use, and config.precision. That is only possible before
    TensorFlow is imported. A program that imports TensorFlow itself should import `train` first.

    Args:
        config: the settings. The dataset is read from config.data, and the model is written to config.output.
        verbose: whether to print the progress. If not, nothing is printed, unless the program has configured logging:
            news go to the logger "trainer".

    Returns:
        The contents of metrics.json, see trainer.training.train.

    Raises:
        UserError: the dataset is incomplete or does not fit the loss, or the model directory is in use.
        trainer.cluster.ProcessLost: with several devices, one of the processes has ended or did not come.
        trainer.word2vec_format.ExportError: an exported file that was read back differs from what was written.

    Warns:
        RuntimeWarning: TensorFlow was imported first. The message says what it was not told.
    """
    if processes := launcher.processes_to_start(config, os.environ):
        launcher.launch(config, processes, news=1 if verbose else None)
        return _metrics(config)
    devices.prepare(config.precision)
    from trainer import training  # imports TensorFlow: not before it is told how to use the processor

    return training.train(config, cluster.process_of(os.environ), verbose=verbose)


def _metrics(config: TrainerConfig) -> dict[str, Any]:
    """The contents of metrics.json, which the processes have written."""
    from trainer import preflight

    return preflight.read_json(os.path.join(config.output, METRICS_FILE)) or {}
