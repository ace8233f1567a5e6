"""The check of the output directory, before a training run changes anything in it."""

import tensorflow as tf
from tensorflow.io import gfile

from trainer.config import TrainerConfig
from trainer.errors import UserError
from trainer.layout import CHECKPOINTS_FOLDER, CONTENTS, METRICS_FILE, TEMPORARY_SUFFIX


def check_output(config: TrainerConfig) -> None:
    """Checks that a model can be written to config.output and replaces nothing unless config.overwrite is set.

    The directory is made if it does not exist.

    Raises:
        UserError: the directory cannot be used, or something in it would be lost.
    """
    output = config.output
    bucket = "/".join(output.split("/")[:3]) + "/" if "://" in output else ""
    try:
        if bucket and not gfile.exists(bucket):  # makedirs would look for the bucket without end
            raise UserError(f"--output {output}: there is no {bucket}, expected a path in a bucket that exists")
        gfile.makedirs(output)
        entries = {entry.rstrip("/") for entry in gfile.listdir(output)}
    except tf.errors.OpError as error:
        raise UserError(
            f"--output {output} cannot be used ({error.message}): expected a directory that can be written to"
        ) from error
    foreign = sorted(entry for entry in entries if entry not in CONTENTS and TEMPORARY_SUFFIX not in entry)
    if foreign:
        raise UserError(
            f"--output {output} holds {foreign[0]}, which is not part of a model: expected a new or empty directory"
        )
    if config.overwrite:
        return
    if CHECKPOINTS_FOLDER in entries:
        if not config.resume:
            raise UserError(
                f"--output {output} holds a run that was interrupted: "
                "add --resume to go on with it, or --overwrite to start anew"
            )
    elif METRICS_FILE in entries:
        raise UserError(
            f"--output {output} already holds a model: name another directory, or add --overwrite to replace the model"
        )
