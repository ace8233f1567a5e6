"""Takes typed values out of JSON. What is missing or mistyped is one line that names the file and the field.

The other package has a copy of this module, since the two share no code; a test keeps the copies equal.
"""

import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.errors import UserError

LARGEST = 2**63 - 1  # the largest whole number that is allowed


class Reader:
    """Takes typed values out of a JSON object, and names the field that is not as it should be."""

    def __init__(self, path: str, values: Mapping[str, Any], where: str = "") -> None:
        self.path = path
        self._values = values
        self._where = where  # which object of the file this is, such as "shards[3]."

    def fail(self, name: str, expected: str) -> UserError:
        """An error about a field."""
        found = "missing" if name not in self._values else reprlib.repr(self._values[name])
        name = name if name.isprintable() else reprlib.repr(name)
        return UserError(f"{self.path}: {self._where}{name} is {found}: expected {expected}")

    def whole_number(self, name: str, low: int = 0, high: int = LARGEST) -> int:
        value = self._values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            limit = f"of {low} or more" if high == LARGEST else f"from {low} to {high}"
            raise self.fail(name, f"a whole number {limit}")
        return value

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if not isinstance(value, str) or not value or not value.isprintable():
            raise self.fail(name, "a text that is not empty and has no control characters")
        return value

    def sha256(self, name: str, may_lack: bool = False) -> str:
        value = self._values.get(name, "" if may_lack else None)
        if may_lack and value == "":
            return ""
        if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
            raise self.fail(name, "64 hexadecimal digits")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str:
        value = self._values.get(name)
        if value not in choices:
            raise self.fail(name, " or ".join(choices))
        return str(value)

    def weights(self, name: str) -> tuple[float, ...]:
        value = self._values.get(name)
        if not isinstance(value, list) or not all(_is_number(item) and 0 < item <= 1 for item in value):
            raise self.fail(name, "a list of numbers above 0 and up to 1")
        return tuple(map(float, value))

    def whole_numbers(self, name: str) -> tuple[int, ...]:
        value = self._values.get(name)
        if not isinstance(value, list) or not all(type(item) is int and 1 <= item < 2**31 for item in value):
            raise self.fail(name, "a list of whole numbers of 1 or more")
        return tuple(value)

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise self.fail(name, "a JSON object")
        return value

    def counts(self, name: str) -> Mapping[str, int]:
        value = self.mapping(name)
        inner = Reader(self.path, value, f"{name}.")
        return {key: inner.whole_number(key) for key in value}

    def objects(self, name: str, fewest: int = 1) -> "list[Reader]":
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) < fewest or not all(isinstance(item, dict) for item in value):
            raise self.fail(name, "a list of JSON objects" + (" that is not empty" if fewest else ""))
        return [Reader(self.path, item, f"{self._where}{name}[{number}].") for number, item in enumerate(value)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
