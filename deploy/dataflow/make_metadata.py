"""python deploy/dataflow/make_metadata.py > deploy/dataflow/metadata.json

Prints the parameters of the Flex Template. They are the flags of `python -m pipeline`. Each has a regular expression
for its values, so that a mistake is noticed before a machine is started.

Only the preset has a defaultValue. Dataflow's console fills default values in and sends all of them, and a value that
is sent overrides the preset. Numbers and choices are plain text for the same reason: such a field stays empty until
someone fills it in.
"""

import json
from typing import Any

from pipeline import options
from pipeline.config import PRESETS
from pipeline.settings import Setting, by_group


def metadata() -> dict[str, Any]:
    """The contents of metadata.json: a TemplateMetadata of Dataflow's API."""
    parameters = [_parameter(setting) for group in by_group(options.SETTINGS).values() for setting in group]
    parameters.append(
        {
            "name": "sdk_container_image",
            "label": "Sdk container image",
            "helpText": "the image that workers run in (default: the template's own)",
            "isOptional": True,
            "regexes": ["^[^ ]+$"],
            "groupName": "workers",
        }
    )
    return {
        "name": "word2vec-beam: skip-grams",
        "description": options.flag_parser().description,
        "streaming": False,
        "parameters": sorted(parameters, key=lambda parameter: parameter["isOptional"]),
    }


def _parameter(setting: Setting) -> dict[str, Any]:
    name = setting.flag.removeprefix("--")
    parameter = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": setting.help,
        "isOptional": not setting.is_required,
        "regexes": [_pattern(setting)],
        "groupName": setting.group or name,
    }
    if setting.kind is tuple:
        parameter["helpText"] += "; several patterns have spaces between them"
    elif name == "output":
        parameter["paramType"] = "GCS_WRITE_FOLDER"
    elif name == "preset":
        parameter["paramType"] = "ENUM"
        parameter["enumOptions"] = [{"value": preset, "label": preset} for preset in setting.choices]
        parameter["defaultValue"] = setting.default
    elif setting.kind is bool:
        parameter["paramType"] = "BOOLEAN"
    texts = [f"{which}: {_text(setting, value)}" for which, value in setting.defaults(PRESETS).items()]
    parameter["helpText"] += f" ({', '.join(texts)})" if texts else ""
    return parameter


def _text(setting: Setting, value: Any) -> str:
    """A value as it is written for a template. That of a flag without a value is whether the flag is given."""
    return str(value != setting.default).lower() if setting.kind is bool else setting.text(value)


def _pattern(setting: Setting) -> str:
    """A POSIX extended regular expression for the values that a setting takes."""
    if setting.kind is bool:
        return "^(true|false)$"
    if setting.choices:
        return f"^({'|'.join(setting.choices)})$"
    if setting.kind is int:
        zero = "0|" if setting.zero else ""
        return f"^({zero}{_whole_numbers(int(setting.low), int(setting.high))})$"
    if setting.kind is float:
        return _fractions(setting.low, setting.high)
    if setting.name == "column":
        return "^[^[:cntrl:]]*[^[:space:][:cntrl:]][^[:cntrl:]]*$"
    return "^ *['\"]?gs://.+$" if setting.kind is tuple else "^gs://.+$"  # Dataflow's workers read and write there


def _whole_numbers(low: int, high: int) -> str:
    """A pattern for the whole numbers from a `low` of one digit to `high`.

    If `high` has several digits, they are the numbers of one digit, those of more digits but fewer than `high` has, and
    those of as many digits. The last have the same digits as `high` up to some place, and a lower digit there; or they
    are `high` itself.
    """
    digits = str(high)
    if not 0 <= low <= 9:
        raise ValueError(f"no pattern for a range from {low} to {high}: expected one digit to begin with")
    if len(digits) == 1:
        return _digits(low, high)
    alternatives = [_digits(low, 9)]
    if len(digits) > 2:
        alternatives.append("[1-9][0-9]" if len(digits) == 3 else f"[1-9][0-9]{{1,{len(digits) - 2}}}")
    for place, digit in enumerate(map(int, digits)):
        lowest = 1 if place == 0 else 0
        if digit > lowest:
            alternatives.append(digits[:place] + _digits(lowest, digit - 1) + _any_digits(len(digits) - place - 1))
    return "|".join([*alternatives, digits])


def _digits(low: int, high: int) -> str:
    """A pattern for one digit of a range."""
    return str(low) if low == high else f"[{low}-{high}]"


def _any_digits(number: int) -> str:
    return "" if number == 0 else "[0-9]" if number == 1 else f"[0-9]{{{number}}}"


def _fractions(low: float, high: float) -> str:
    """A pattern for the numbers from 0 or -`high` to a `high` of one digit, or from -1 to a huge one.

    A number with a negative exponent has at most one digit before the point, as in 2.5e-05. Then it is below 1. A huge
    number has at most nine digits before the point, and an exponent of at most one.
    """
    if low == -1 and high >= 1e18:
        negative = _fractions(-1, 1).removeprefix("^-?").removesuffix("$")
        return f"^(-{negative}|([0-9]{{1,9}}([.][0-9]*)?|[.][0-9]+)([eE](-[0-9]+|[0-9]))?)$"
    if low not in (0, -high) or high not in range(1, 10):
        raise ValueError(f"no pattern for a range from {low} to {high}: expected one from 0 or -N to N, N from 1 to 9")
    whole = int(high)
    below = f"{_digits(0, whole - 1)}([.][0-9]*)?|[.][0-9]+|([0-9]([.][0-9]*)?|[.][0-9]+)[eE]-0*[1-9][0-9]*"
    return f"^{'-?' if low < 0 else ''}({below}|{whole}([.]0*)?)$"


if __name__ == "__main__":
    print(json.dumps(metadata(), indent=1))
