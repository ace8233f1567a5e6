"""What the trainer's commands share: how mistakes in flags are told, and how TensorFlow is imported without noise."""

import argparse
import contextlib
import gc
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TextIO

from trainer import interrupt
from trainer.cluster import ProcessLost
from trainer.errors import UserError, user_message

EXIT_FAILED = 1
EXIT_USAGE = 2
ERASE_LINE = "\r\x1b[2K"  # erases the line of a terminal in which the cursor is, and puts the cursor at its beginning
# TensorFlow and Keras import these packages if they are there, which takes a fifth of the time of their own import. The
# commands use nothing of them.
_NOT_IMPORTED = ("pandas", "googleapiclient")


def program(default: str) -> str:
    """The name by which the command was called: that of its console script, or `default`."""
    name = os.path.basename(sys.argv[0]).removesuffix(".exe")
    return name if name.startswith("word2vec-") else default


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal on which a line can be written anew."""
    with contextlib.suppress(Exception):  # it may be closed
        return stream is not None and stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
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

    It raises UserError for a mistake, so that the command can tell it in one line. It accepts no abbreviated flags. It
    has --version besides --help.

    Args:
        prog: how the command is called without its console script.
        **kwargs: the other arguments of ArgumentParser.
    """

    def __init__(self, *, prog: str, **kwargs: Any) -> None:
        super().__init__(prog=program(prog), allow_abbrev=False, **kwargs)
        self.add_argument("--version", action=_ShowVersion, help="show the version and exit")

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


class _ShowVersion(argparse.Action):
    """Prints the version and exits. Unlike argparse's own action, it looks the version up only if it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *args: object) -> None:
        print(version())
        parser.exit()


def run(main: Callable[[Sequence[str]], None], argv: Sequence[str], command: str, advice: str = "") -> int:
    """Runs a command.

    Args:
        main: the command; it takes the arguments.
        argv: the arguments, without the program's name.
        command: how the command is called without its console script, for messages.
        advice: what the user can do after Ctrl-C.

    Returns:
        The exit code: 0; 2 for a UserError; or 1 if the storage or the memory has failed, such as a full disk. Both are
        told in one line.
    """
    interrupt.install(program(command), advice)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the terminal may not have all characters
    try:
        main(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # what reads the output, such as head, has stopped reading
        sys.stderr.close()
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        print(f"{program(command)}: {message}", file=sys.stderr)
        is_mistake = isinstance(error, UserError) and not isinstance(error, ProcessLost)
        return EXIT_USAGE if is_mistake else EXIT_FAILED
    return 0


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Hides what is written to standard error while a command imports TensorFlow, and what TensorFlow logs later.

    TensorFlow writes half a dozen lines that mean nothing to the user. A user who wants to see what it logs sets
    TF_CPP_MIN_LOG_LEVEL in the environment. Garbage collection is off during the import, and what it made is never
    collected: searching it would take about a second and find nothing. Packages that TensorFlow would import without
    need look as if they were not installed. All this concerns the whole process, so only a command may use it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    is_outermost = gc.isenabled()
    gc.disable()
    hidden = [name for name in _NOT_IMPORTED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # an import finds None, and raises ImportError
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        if is_outermost:
            gc.freeze()
            gc.enable()
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
