"""python deploy/local/flags_table.py pipeline|trainer

Prints a Markdown table of all flags of `python -m pipeline` or of `python -m trainer.task`, for the README.
"""

import argparse
import importlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_PROGRAMS = {"pipeline": "pipeline.options", "trainer": "trainer.task"}  # the modules with the parsers


def table(program: str) -> str:
    """The table of a program's flags: each with its default, the tutorial preset's default, and its help text."""
    module = importlib.import_module(_PROGRAMS[program])
    presets = importlib.import_module(f"{program}.config").PRESETS
    by_group = importlib.import_module(f"{program}.settings").by_group
    settings = [each for group in by_group(module.SETTINGS).values() for each in group]
    rows = [("flag", "default", "preset tutorial", "meaning"), ("---", "---", "---", "---")]
    rows += _other_rows(module.flag_parser(), {each.flag for each in settings})
    rows += (_row(each, presets) for each in settings)
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _other_rows(parser: argparse.ArgumentParser, flags: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The rows of flags that set nothing, such as --plan. --help and --version, which have no default, get no row."""
    for action in parser._actions:
        flag = action.option_strings[-1]
        if flag not in flags and action.default is not argparse.SUPPRESS:
            value = f" [{action.metavar}]" if action.metavar else ""
            yield f"`{flag}{value}`", "", "", _markdown(action.help or "")


def _row(setting: Any, presets: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    """The row of a Setting."""
    texts = {which: setting.text(value) for which, value in setting.defaults(presets).items()}
    if setting.kind is bool:
        flag = setting.flag
    elif setting.choices:
        flag = f"{setting.flag} {{{','.join(setting.choices)}}}"
    else:
        flag = f"{setting.flag} {setting.metavar}{'...' if setting.kind is tuple else ''}"
    return f"`{flag}`", texts.get("default", "required"), texts.get("preset tutorial", ""), _markdown(setting.help)


def _markdown(text: str) -> str:
    return re.sub(r"--\w+", r"`\g<0>`", text.replace("*", r"\*"))


if __name__ == "__main__":
    if sys.argv[1:] not in ([name] for name in _PROGRAMS):
        sys.exit("usage: python deploy/local/flags_table.py pipeline|trainer")
    sys.path.insert(0, str(Path(__file__).parents[2]))
    print(table(sys.argv[1]), end="")
