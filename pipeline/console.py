"""What the pipeline's commands share: how mistakes in flags are told, and how TensorFlow is imported without noise."""

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from pipeline.errors import UserError

EXIT_FAILED = 1
EXIT_USAGE = 2
ERASE_LINE = "\r\x1b[2K"  # erases the line of a terminal in which the cursor is, and puts the cursor at its beginning


def program(default: str) -> str:
    """The name by which the command was called: that of its console script, or `default`."""
    name = os.path.basename(sys.argv[0]).removesuffix(".exe")
    return name if name.startswith("word2vec-") else default


def is_terminal() -> bool:
    """Whether standard error is a terminal on which a line can be written anew."""
    with contextlib.suppress(Exception):  # it may be closed
        return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    return False


def version() -> str:
    """The name and the version of the project, for --version."""
    import importlib.metadata  # takes longer than parsing the flags, and is only needed here

    try:
        return f"word2vec-beam {importlib.metadata.version('word2vec-beam')}"
    except importlib.metadata.PackageNotFoundError:
        return "word2vec-beam, from a checkout that is not installed"


class Parser(argparse.ArgumentParser):
    """An argparse parser for a command.

    It raises UserError for a mistake, so that the command can tell it in one line. It accepts no abbreviated flags. If
    it has --help, it has --version too.

    Args:
        prog: how the command is called without its console script.
        add_help: whether to add --help and --version.
        **kwargs: the other arguments of ArgumentParser.
    """

    def __init__(self, *, prog: str = "", add_help: bool = True, **kwargs: Any) -> None:
        super().__init__(prog=program(prog), add_help=add_help, allow_abbrev=False, **kwargs)
        if add_help:
            self.add_argument("--version", action=_ShowVersion, help="show the version and exit")

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


class _ShowVersion(argparse.Action):
    """Prints the version and exits. Unlike argparse's own action, it looks the version up only if it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *args: object) -> None:
        sys.stdout.write(f"{version()}\n")
        parser.exit()


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Hides what is written to standard error while a command imports TensorFlow and Beam.

    Both write half a dozen lines that mean nothing to the user. Garbage collection is off during the imports, and what
    they made is never collected: searching it would take about a second and find nothing. All this concerns the whole
    process, so only a command or a worker process of Beam may use it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TensorFlow Transform needs this Keras; the other takes time
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
