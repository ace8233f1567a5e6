"""The directories that a run writes to: the model, the checkpoints and the logs."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from trainer.config import TrainerConfig
from trainer.layout import CHECKPOINTS_FOLDER, LOGS_FOLDER
from trainer.lock import locked
from trainer.plain_path import plain_path
from trainer.preflight import make_directory


@dataclass(frozen=True)
class Places:
    """Where a run writes, as paths that TensorFlow can use."""

    output: str
    checkpoint_dir: str
    log_dir: str


@contextlib.contextmanager
def open_places(config: TrainerConfig, *, is_chief: bool) -> Iterator[Places]:
    """Makes the directories of a run where they do not exist, for the time of a `with` block.

    Args:
        config: the settings.
        is_chief: whether this process is the chief, which keeps other runs from writing to the same directories.

    Raises:
        UserError: a directory cannot be written to, or another run has it.
    """
    given = {"--output": config.output, "--checkpoint_dir": config.checkpoint_dir.rstrip("/")}
    with contextlib.ExitStack() as stack:
        plain = {}
        for flag, directory in given.items():
            if directory:
                make_directory(directory, flag)
                if is_chief:
                    stack.enter_context(locked(directory, flag))
                plain[flag] = stack.enter_context(plain_path(directory))
        output = plain["--output"]
        yield Places(
            output=output,
            checkpoint_dir=plain.get("--checkpoint_dir", os.path.join(output, CHECKPOINTS_FOLDER)),
            log_dir=config.log_dir or os.path.join(output, LOGS_FOLDER),
        )
