"""Settings that are stated once: fields of a dataclass that also describe their flags.

A field made by `setting` holds a help text and the values that it takes. The parser, the validation and every list of
the flags are made from these fields. The other package has a copy of this module, since the two share no code.
"""

import argparse
import dataclasses
import numbers
from collections.abc import Iterable, Mapping
from typing import Any, get_origin

from pipeline.errors import UserError

_KEY = "setting"  # where a field's metadata holds its Setting
_REQUIRED = None  # the default of a setting that has none

Value = bool | int | float | str | tuple[str, ...]
Presets = Mapping[str, Mapping[str, Value]]  # by the preset's name: the defaults that it sets, by the setting's name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting and its flag.

    The kind is the type of the values: bool for a flag without a value, tuple for a flag with one or more strings,
    which may be repeated; a setting of that kind is required.
    """

    name: str = ""  # the name of the field; a field's Setting gets it from settings_of
    kind: type = str  # bool, int, float, str or tuple
    default: Any = _REQUIRED
    help: str  # what the flag does, for people
    group: str = ""  # the heading that --help lists the flag under; empty for the one of --help itself
    metavar: str | None = None  # what stands for the value in --help
    choices: tuple[str, ...] = ()  # the strings that are allowed, if not all are
    low: float = 0  # the lowest number that is allowed
    high: float = 0  # the highest number that is allowed
    zero: str = ""  # what 0 stands for, if 0 is allowed although it is below `low`
    expected: str = ""  # what a string is, for the error about an empty one
    empty: str = ""  # what an empty string stands for, if it is allowed

    @property
    def flag(self) -> str:
        """The flag. A setting that is on by default has a flag that turns it off."""
        return f"--no_{self.name}" if self.default is True else f"--{self.name}"

    @property
    def is_required(self) -> bool:
        """Whether the flag must be given."""
        return self.default is _REQUIRED

    def check(self, value: Any) -> None:
        """Raises UserError, which names the flag and the value, if the value is not allowed."""
        if self.kind is bool:
            complaint = "" if isinstance(value, bool) else f"{value!r}: expected {self.name} to be True or False"
        elif self.kind in (int, float):
            complaint = self._complaint_about_number(value)
        else:
            complaint = self._complaint_about_text(value)
        if complaint:
            raise UserError(f"{self.flag} {complaint}")

    def _complaint_about_number(self, value: Any) -> str:
        """What is wrong and what would be right; empty if the value is allowed."""
        is_whole = isinstance(value, numbers.Integral)
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if is_number and (is_whole or self.kind is float):
            if self.low <= value <= self.high or (self.zero and value == 0):
                return ""
        zero = f"0 for {self.zero}, or " if self.zero else ""
        number = "a whole number" if self.kind is int else "a number"
        return f"{value if is_number else repr(value)}: expected {zero}{number} from {self.low} to {self.high}"

    def _complaint_about_text(self, value: Any) -> str:
        """What is wrong and what would be right; empty if the value is allowed."""
        strings = value if self.kind is tuple else (value,)
        if not isinstance(strings, tuple) or not all(isinstance(string, str) for string in strings):
            return f"{value!r}: expected a {'tuple of strings' if self.kind is tuple else 'string'}"
        if self.choices:
            return "" if value in self.choices else f"{value!r}: expected one of {', '.join(self.choices)}"
        return "" if self.empty or (strings and all(strings)) else f"is empty: expected {self.expected}"

    def text(self, value: Value) -> str:
        """A value as one would write it behind the flag; for a flag without a value, whether it is given."""
        if self.kind is bool:
            return "not given" if value == self.default else "given"
        return f"{value:g}" if self.kind is float else str(value) or self.empty

    def defaults(self, presets: Presets) -> dict[str, Value]:
        """The default, and the defaults that presets set instead, by how they are called; empty if it is required."""
        if self.is_required:
            return {}
        others = {f"preset {name}": values[self.name] for name, values in presets.items() if self.name in values}
        return {"default": self.default, **others}

    def _number(self, text: str) -> int | float:
        """The number that is written behind the flag. Whether it is allowed is checked later, by `check`."""
        try:
            return int(text) if self.kind is int else float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(self._complaint_about_number(text)) from None

    def add_to(self, parser: argparse._ActionsContainer, presets: Presets) -> None:
        """Adds the flag to a parser or to a group of one."""
        defaults = self.defaults(presets)
        if self.kind is bool:
            del defaults["default"]  # that a flag is not given by default goes without saying
        texts = [f"{which}: {self.text(value)}" for which, value in defaults.items()]
        text = (self.help + (f" ({', '.join(texts)})" if texts else "")).replace("%", "%%")
        if self.kind is bool:
            action = "store_false" if self.default else "store_true"
            parser.add_argument(self.flag, dest=self.name, action=action, help=text)
            return
        parser.add_argument(
            self.flag,
            default=self.default,
            required=self.is_required,
            type=self._number if self.kind in (int, float) else str,
            nargs="+" if self.kind is tuple else None,
            action="extend" if self.kind is tuple else "store",
            choices=self.choices or None,
            metavar=self.metavar,
            help=text,
        )


def setting(
    default: Any = _REQUIRED,
    *,
    help: str,
    group: str,
    metavar: str | None = None,
    choices: tuple[str, ...] = (),
    low: float = 0,
    high: float = 0,
    zero: str = "",
    expected: str = "",
    empty: str = "",
) -> Any:
    """A field of a dataclass that is a setting. The arguments are those of Setting; no default makes it required."""
    described = Setting(
        default=default,
        help=help,
        group=group,
        metavar=metavar,
        choices=choices,
        low=low,
        high=high,
        zero=zero,
        expected=expected,
        empty=empty,
    )
    metadata = {_KEY: described}
    if default is _REQUIRED:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(config: Any) -> tuple[Setting, ...]:
    """The settings of a dataclass, or of an object of one, in the order of its fields."""
    return tuple(
        dataclasses.replace(field.metadata[_KEY], name=field.name, kind=get_origin(field.type) or field.type)
        for field in dataclasses.fields(config)
    )


def validate(config: Any) -> None:
    """Raises UserError for the first setting of an object whose value is not allowed."""
    for each in settings_of(config):
        each.check(getattr(config, each.name))


def by_group(settings: Iterable[Setting]) -> dict[str, list[Setting]]:
    """The settings of each group. Groups are in the order of their first settings."""
    groups: dict[str, list[Setting]] = {}
    for each in settings:
        groups.setdefault(each.group, []).append(each)
    return groups


def add_flags(parser: argparse.ArgumentParser, settings: Iterable[Setting], presets: Presets) -> None:
    """Adds the flags of settings to a parser, under the headings of their groups."""
    for group, members in by_group(settings).items():
        container = parser.add_argument_group(group) if group else parser
        for each in members:
            each.add_to(container, presets)
