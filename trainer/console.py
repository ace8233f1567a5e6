"""What the trainer's commands share: how mistakes in flags are told."""

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence

from trainer.errors import UserError

EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """An argparse parser that knows no abbreviations and raises UserError, so that a mistake is told in one line."""

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message):
        raise UserError(message)


def run(main: Callable[[Sequence[str]], None], argv: Sequence[str], program: str) -> int:
    """Calls main(argv) and returns the exit code; a UserError becomes one line and the code 2."""
    try:
        main(argv)
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        sys.stderr.close()
    return 0


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """For imports of TensorFlow and Beam, which are large and greet with half a dozen lines.

    Hides what is written to stderr. Nor is there a search for garbage: what is imported is there to stay, and going
    through it costs about a second, half of it as Python ends.
    """
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
