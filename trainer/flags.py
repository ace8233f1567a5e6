"""What the trainer's commands share: how mistakes in flags are told."""

import argparse
import sys
from collections.abc import Callable, Sequence

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
