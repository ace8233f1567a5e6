"""Where a run begins: at the start, at a checkpoint of an interrupted run, or not at all, as the model is complete."""

import dataclasses
import os
from typing import Any

from trainer import preflight
from trainer.checkpoints import Checkpoints, Position
from trainer.config import TrainerConfig
from trainer.dataset import Dataset
from trainer.errors import UserError
from trainer.layout import METRICS_FILE
from trainer.news import logger

_DATASET = "a dataset with the fingerprint"  # the name of this setting in messages
# The settings that may be others when a run goes on, and in each of the processes that train together.
_MAY_DIFFER = {"data", "output", "checkpoint_dir", "log_dir", "checkpoint_minutes", "devices", "wait_minutes", "step"}
_MAY_DIFFER |= {"projector_words", "report"}
_HOW_TO_START = {"overwrite", "resume"}


def settings_of_run(config: TrainerConfig, dataset: Dataset) -> dict[str, Any]:
    """The settings that a run must share with the interrupted run that it resumes, by the name for messages."""
    names = sorted({field.name for field in dataclasses.fields(config)} - _MAY_DIFFER - _HOW_TO_START)
    return {
        _DATASET: dataset.fingerprint,
        **{f"--{name}": getattr(config, name) for name in names},
    }


def settings_of_all(config: TrainerConfig, dataset: Dataset) -> dict[str, Any]:
    """The settings that all processes that train together must share, by the name for messages."""
    return {
        **settings_of_run(config, dataset),
        **{f"--{name}": getattr(config, name) for name in sorted(_HOW_TO_START)},
    }


def start_or_resume(config: TrainerConfig, dataset: Dataset, checkpoints: Checkpoints) -> tuple[Position, str]:
    """Restores the last checkpoint if --resume is set and there is one. Otherwise removes what an earlier run left.

    Returns:
        Where the run begins, and its id.

    Raises:
        UserError: the interrupted run had other settings, or all of its checkpoints are damaged.
    """
    settings = settings_of_run(config, dataset)
    if config.resume:
        if restored := checkpoints.restore(settings):
            return restored
        logger.info(f"no checkpoint in {config.checkpoint_dir or config.output}: starting from the beginning")
    return Position(), checkpoints.start(settings)


def metrics_of_finished(config: TrainerConfig, dataset: Dataset, output: str) -> dict[str, Any]:
    """What --resume returns if the run has finished: the metrics of the model that is there.

    Args:
        config: the settings.
        dataset: the dataset.
        output: another path of config.output.

    Raises:
        UserError: the model was trained with other settings.
    """
    metrics = preflight.read_json(os.path.join(output, METRICS_FILE))
    if metrics is None or not isinstance(metrics.get("config"), dict):
        raise UserError(
            f"--output {config.output} holds a model whose {METRICS_FILE} is damaged, which says how it was trained: "
            "name another directory, or add --overwrite instead of --resume to replace the model"
        )
    # A model of an earlier version was trained with the defaults of the settings that have come since.
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    trained = defaults | metrics["config"]
    found = {**{f"--{name}": value for name, value in trained.items()}, _DATASET: metrics.get("dataset")}
    for name, value in settings_of_run(config, dataset).items():
        if found.get(name) != value:
            raise UserError(
                f"--output {config.output} holds a model that is complete, with {name} {found.get(name)}, not {value}: "
                "name another directory, or add --overwrite instead of --resume to replace the model"
            )
    logger.info(f"the model in {config.output} is complete, so there is nothing to resume")
    return metrics
