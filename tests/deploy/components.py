"""Makes what a component of a pipeline would get from Vertex AI: its arguments with the values in their places."""

import json
import re
from typing import Any


def arguments(pipeline: dict[str, Any], task: str, values: dict[str, Any]) -> list[str]:
    """The arguments of a step's program.

    Args:
        pipeline: the compiled pipeline.
        task: the step's name in the pipeline's outermost graph.
        values: the values of the pipeline's parameters.
    """
    step = pipeline["root"]["dag"]["tasks"][task]
    component = pipeline["components"][step["componentRef"]["name"]]
    defined = component["inputDefinitions"]["parameters"]
    given = {name: each["defaultValue"] for name, each in defined.items() if "defaultValue" in each}
    for name, source in step["inputs"]["parameters"].items():
        if "componentInputParameter" in source:
            given[name] = values[source["componentInputParameter"]]
        elif "runtimeValue" in source:
            given[name] = source["runtimeValue"]["constant"]
    for name, value in given.items():
        kind = defined[name]["parameterType"]
        given[name] = int(value) if kind == "NUMBER_INTEGER" else value
        if isinstance(value, str) and value.startswith("{{$.pipeline_"):
            given[name] = "" if "persistent_resource" in value else "of-the-run"
    written = pipeline["deploymentSpec"]["executors"][component["executorLabel"]]["container"]["args"]
    return [_filled(argument, given) for argument in written if "IfPresent" not in argument]


def payload(pipeline: dict[str, Any], task: str, values: dict[str, Any]) -> Any:
    """What a step's program would ask a service for."""
    words = arguments(pipeline, task, values)
    return json.loads(words[words.index("--payload") + 1])


def _filled(argument: str, given: dict[str, Any]) -> str:
    if argument.startswith('{"Concat"'):
        argument = "".join(json.loads(argument)["Concat"])

    def value_of(found: re.Match[str]) -> str:
        value = given[found[1]]
        return value if isinstance(value, str) else json.dumps(value)

    return re.sub(r"{{\$\.inputs\.parameters\['(\w+)'\]}}", value_of, argument)
