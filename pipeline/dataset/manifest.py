"""The manifest of a dataset."""

import json
import os

from tensorflow.io import gfile

from pipeline.dataset.layout import MANIFEST_FILE

MANIFEST_VERSION = 2


def read_manifest(output: str) -> dict:
    """The manifest of the dataset in `output`."""
    with gfile.GFile(os.path.join(output, MANIFEST_FILE)) as file:
        return json.load(file)
