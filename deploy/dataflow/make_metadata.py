"""python deploy/dataflow/make_metadata.py > deploy/dataflow/metadata.json

The parameters of the Flex Template: the flags of `python -m pipeline`, with a POSIX pattern each, so that a mistake is
told before a machine is started.

Only the preset has a defaultValue. The console fills those in and sends them all, and what is sent is no longer the
preset's to say; for the same reason numbers and choices are plain text, whose field stays empty until it is used.
"""

import argparse
import bisect
import json

from pipeline import options
from pipeline.config import PRESETS, PipelineConfig
from pipeline.errors import UserError

_NO_PARAMETERS = {"help", "plan"}  # what makes no job


def metadata() -> dict:
    """The contents of metadata.json, a TemplateMetadata of Dataflow's API."""
    parser = options.flag_parser()
    parameters = [
        _parameter(action, group.title)
        for group in parser._action_groups
        for action in group._group_actions
        if action.dest not in _NO_PARAMETERS
    ]
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
        "description": parser.description,
        "streaming": False,
        "parameters": sorted(parameters, key=lambda parameter: parameter["isOptional"]),
    }


def _parameter(action: argparse.Action, group: str) -> dict:
    name = action.option_strings[0].removeprefix("--")
    parameter = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": action.help + _defaults(action),
        "isOptional": not action.required,
        "regexes": [_pattern(action)],
        "groupName": group if group != "options" else "preset",
    }
    if name == "input":
        parameter["helpText"] += "; several patterns have spaces between them"
    elif name == "output":
        parameter["paramType"] = "GCS_WRITE_FOLDER"
    elif name == "preset":
        parameter["paramType"] = "ENUM"
        parameter["enumOptions"] = [{"value": preset, "label": preset} for preset in action.choices]
        parameter["defaultValue"] = action.default
    elif action.nargs == 0:
        parameter["paramType"] = "BOOLEAN"
    return parameter


def _defaults(action: argparse.Action) -> str:
    """What a parameter is if it is not given, where a preset says otherwise too."""
    if action.required:
        return ""
    texts = [_text(action, action.default)]
    texts += [
        f"preset {preset}: {_text(action, values[action.dest])}"
        for preset, values in PRESETS.items()
        if action.dest in values
    ]
    return f" (default: {', '.join(texts)})"


def _text(action: argparse.Action, value) -> str:
    return str(value == action.const).lower() if action.nargs == 0 else str(value)


def _pattern(action: argparse.Action) -> str:
    """An extended regular expression, POSIX's, for the values that the flag takes."""
    if action.nargs == 0:
        return "^(true|false)$"
    if action.choices:
        return f"^({'|'.join(action.choices)})$"
    if action.type is int:
        return _whole_numbers(action.dest)
    if action.type is float:
        return _fractions(action.dest)
    return {"input": "^ *['\"]?gs://.+$", "output": "^gs://.+$"}[action.dest]


def _whole_numbers(name: str) -> str:
    # 0 may be good although the numbers after it are not: no limit.
    low = next(value for value in range(1, 10) if _is_good(name, value))
    high = low + bisect.bisect(range(low + 1, 2**63), False, key=lambda value: not _is_good(name, value))
    alternatives = ["0"] * _is_good(name, 0) + [f"[{low}-9]"]
    digits = str(high)
    if high > 10**9:  # whose end nobody meets: as many digits will do
        alternatives.append(f"[1-9][0-9]{{1,{len(digits) - 1}}}")
    else:
        alternatives.append(f"[1-9][0-9]{{1,{len(digits) - 2}}}")
        for place, digit in enumerate(digits):  # the same digits up to a place, and there a lower one
            lowest = 1 if place == 0 else 0
            if int(digit) > lowest:
                rest = "[0-9]" * (len(digits) - place - 1)
                alternatives.append(f"{digits[:place]}[{lowest}-{int(digit) - 1}]{rest}")
        alternatives.append(digits)
    return f"^({'|'.join(alternatives)})$"


def _fractions(name: str) -> str:
    high = max(value for value in range(10) if _is_good(name, value))
    sign = "-?" if _is_good(name, -high) else ""
    below = f"[0-{high - 1}]([.][0-9]*)?|[.][0-9]+|[0-9]*[.]?[0-9]+[eE]-[0-9]+"
    return f"^{sign}({below}|{high}([.]0*)?)$"


def _is_good(name: str, value: int) -> bool:
    try:
        PipelineConfig(input=("a",), output="b", **{name: value})
    except UserError:
        return False
    return True


if __name__ == "__main__":
    print(json.dumps(metadata(), indent=1))
