"""What the pipeline's commands share: how mistakes in flags are told, and how TensorFlow is imported without noise."""

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Iterator

from pipeline.errors import UserError

EXIT_FAILED = 1
EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """An argparse parser that knows no abbreviations and raises UserError, so that a mistake is told in one line."""

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message):
        raise UserError(message)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """For imports of TensorFlow and Beam, which are large and greet with half a dozen lines.

    Hides what is written to stderr. Nor is there a search for garbage: what is imported is there to stay, and going
    through it costs about a second, half of it as Python ends.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    is_outermost = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_outermost:
            gc.freeze()
            gc.enable()
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
