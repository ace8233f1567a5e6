"""Reads the manifest of a dataset from its directory."""

import os

import tensorflow as tf
from tensorflow.io import gfile

from pipeline.dataset.layout import MANIFEST_FILE
from pipeline.dataset.manifest import Manifest, parse_manifest
from pipeline.errors import UserError


def read_manifest(directory: str) -> Manifest:
    """The manifest of the dataset in `directory`.

    Raises:
        UserError: there is no complete dataset in the directory, or its manifest is damaged.
    """
    path = os.path.join(directory, MANIFEST_FILE)
    try:
        with gfile.GFile(path, "rb") as file:
            text = file.read()
    except tf.errors.PermissionDeniedError as error:
        raise UserError(f"{path} cannot be read ({error.message}): expected a file that this user may read") from error
    except tf.errors.OpError as error:
        raise UserError(
            f"{directory} is not a complete dataset, since its {MANIFEST_FILE} cannot be read: expected the --output "
            "of a pipeline run that has ended well"
        ) from error
    return parse_manifest(text, path)
