"""Makes what a component of a pipeline would get from Vertex AI: its arguments with the values in their places."""

import json
import re
from collections.abc import Iterator
from typing import Any


def arguments(
    pipeline: dict[str, Any], task: str, values: dict[str, Any], resources: dict[str, str] | None = None
) -> list[str]:
    """The arguments of a step's program.

    Args:
        pipeline: the compiled pipeline.
        task: the step's name.
        values: the values of the pipeline's parameters.
        resources: the name that the API has for each artifact that the step gets.
    """
    (step,) = (tasks[task] for tasks in _graphs(pipeline) if task in tasks)
    component = pipeline["components"][step["componentRef"]["name"]]
    defined = component["inputDefinitions"]["parameters"]
    given = {name: each["defaultValue"] for name, each in defined.items() if "defaultValue" in each}
    for name, source in step["inputs"]["parameters"].items():
        if "componentInputParameter" in source:
            given[name] = values[source["componentInputParameter"].removeprefix("pipelinechannel--")]
        elif "runtimeValue" in source:
            given[name] = source["runtimeValue"]["constant"]
    for name, value in given.items():
        if defined[name]["parameterType"] == "NUMBER_INTEGER":
            given[name] = int(value)
        elif isinstance(value, str) and value.startswith("{{$.pipeline_"):
            given[name] = "" if "persistent_resource" in value else "of-the-run"
    written = pipeline["deploymentSpec"]["executors"][component["executorLabel"]]["container"]["args"]
    return [_filled(argument, given, resources or {}) for argument in written if "IfPresent" not in argument]


def payload(pipeline: dict[str, Any], task: str, values: dict[str, Any]) -> Any:
    """What a step's program would ask a service for."""
    words = arguments(pipeline, task, values)
    return json.loads(words[words.index("--payload") + 1])


def module(pipeline: dict[str, Any], task: str) -> str:
    """The module of a step's program."""
    (step,) = (tasks[task] for tasks in _graphs(pipeline) if task in tasks)
    label = pipeline["components"][step["componentRef"]["name"]]["executorLabel"]
    name: str = pipeline["deploymentSpec"]["executors"][label]["container"]["command"][-1]
    return name


def _graphs(pipeline: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The steps of the pipeline itself, and those below a condition."""
    for part in (pipeline["root"], *pipeline["components"].values()):
        if "dag" in part:
            yield part["dag"]["tasks"]


def _filled(argument: str, given: dict[str, Any], resources: dict[str, str]) -> str:
    if argument.startswith('{"Concat"'):
        argument = "".join(json.loads(argument)["Concat"])

    def value_of(found: re.Match[str]) -> str:
        value = given[found[1]]
        return value if isinstance(value, str) else json.dumps(value)

    argument = re.sub(r"{{\$\.inputs\.parameters\['(\w+)'\]}}", value_of, argument)
    pattern = r"{{\$\.inputs\.artifacts\['(\w+)'\]\.metadata\['resourceName'\]}}"
    return re.sub(pattern, lambda found: resources[found[1]], argument)
