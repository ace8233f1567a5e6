"""What is checked before a training run touches its output."""

import tensorflow as tf
from tensorflow.io import gfile

from trainer.config import TrainerConfig
from trainer.errors import UserError
from trainer.layout import CHECKPOINTS_FOLDER, CONTENTS, METRICS_FILE


def check_output(config: TrainerConfig) -> None:
    """Raises UserError if the model cannot be written to config.output without loss."""
    output = config.output
    bucket = "/".join(output.split("/")[:3]) + "/" if "://" in output else ""
    try:
        if bucket and not gfile.exists(bucket):  # makedirs would look for it without end
            raise UserError(f"--output {output}: there is no {bucket}")
        gfile.makedirs(output)
        entries = {entry.rstrip("/") for entry in gfile.listdir(output)}
    except tf.errors.OpError as error:
        raise UserError(f"--output {output} cannot be used as a directory: {error.message}") from error
    foreign = sorted(entry for entry in entries if entry not in CONTENTS and ".tmp" not in entry)
    if foreign:
        raise UserError(f"--output {output} holds what is not a model's ({foreign[0]}): expected a new directory")
    if config.overwrite:
        return
    if CHECKPOINTS_FOLDER in entries:
        if not config.resume:
            raise UserError(
                f"--output {output} holds a run that was interrupted: "
                "add --resume to go on with it, or --overwrite to start anew"
            )
    elif METRICS_FILE in entries:
        raise UserError(f"--output {output} already holds a model: name another, or add --overwrite to replace it")
