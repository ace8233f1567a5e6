"""Prints the request for run_pipeline.sh: a PipelineJob, as Vertex AI calls it.

With --check it gets the parameters of the template and the trainer's flags, and only tells a mistake in them.
"""

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[1]
sys.path.insert(0, str(DEPLOY))
from common import SERVING_IMAGE, dumps, read_words  # noqa: E402


def pipeline_job(given: dict[str, str], template_parameters: list[str]) -> dict[str, Any]:
    """The request. Its values are those of run_pipeline.sh, with the description of the training job as `spec`."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the faster one is not everywhere
    pipeline = yaml.load((DEPLOY / "vertex" / "pipeline.yaml").read_text(), loader)
    if given["reuse"] == "1":
        _allow_caching(pipeline)
    job: dict[str, Any] = {
        "displayName": given["job_name"],
        "pipelineSpec": pipeline,
        "runtimeConfig": {
            "gcsOutputDirectory": given["pipeline_root"],
            "parameterValues": parameter_values(given, template_parameters),
        },
    }
    if given["labels"]:
        job["labels"] = dict(label.split("=", 1) for label in given["labels"].split(","))
    if given["service_account"]:
        job["serviceAccount"] = given["service_account"]
    return job


def parameter_values(given: dict[str, str], template_parameters: list[str]) -> dict[str, Any]:
    """The values of the pipeline's parameters, whose meaning pipeline.py states."""
    spec = json.loads(given["spec"])
    place = f"projects/{given['project']}/locations/{given['region']}"
    endpoint = f"{place}/endpoints/{given['endpoint']}" if given["endpoint"] else ""
    return {
        "region": given["region"],
        "template": given["template"],
        "template_parameters": dict(parameter.split("=", 1) for parameter in template_parameters),
        "temp_location": given["temp_location"],
        "dataset": given["dataset"],
        "worker_pool_specs": _snake_case(spec["workerPoolSpecs"]),
        "saved_model": given["saved_model"],
        "max_workers": int(given["max_workers"]),
        "timeout": spec["scheduling"]["timeout"],
        "strategy": spec["scheduling"]["strategy"],
        "service_account": given["service_account"],
        "network": spec.get("network", ""),
        "tensorboard": spec.get("tensorboard", ""),
        "base_output": spec.get("baseOutputDirectory", {}).get("outputUriPrefix", ""),
        "model_name": given["model_name"],
        "serving_image": given["serving_image"] or SERVING_IMAGE,
        "endpoint": endpoint,
        "endpoint_uri": f"https://{given['region']}-aiplatform.googleapis.com/v1/{endpoint}" if endpoint else "",
        "serving_machine_type": given["serving_machine_type"],
    }


def _snake_case(value: Any) -> Any:
    """The same with the names of fields as Python's types have them, which the component for training takes."""
    if isinstance(value, dict):
        return {re.sub("(?=[A-Z])", "_", name).lower(): _snake_case(below) for name, below in value.items()}
    return [_snake_case(below) for below in value] if isinstance(value, list) else value


def _allow_caching(value: Any) -> None:
    """Changes a pipeline so that Vertex AI skips steps that an earlier run has finished with the same values."""
    for name, below in value.items() if isinstance(value, dict) else ():
        if name == "cachingOptions":
            below["enableCache"] = True
        _allow_caching(below)


def check(template_parameters: list[str], trainer_flags: list[str]) -> int:
    """The exit code: 2 after a line about a mistake, which otherwise a job in the cloud would tell."""
    sys.path.insert(0, str(DEPLOY.parent))
    import pipeline
    import trainer

    try:
        _check_template_parameters(template_parameters)
        _check_exports(trainer_flags)
    except (pipeline.UserError, trainer.UserError) as error:
        print(f"run_pipeline.sh: {error}", file=sys.stderr)
        return 2
    return 0


def _check_template_parameters(parameters: list[str]) -> None:
    from pipeline import UserError, options

    flags = runpy.run_path(str(DEPLOY / "dataflow" / "template_main.py"))["flags"]
    known = {each["name"] for each in json.loads((DEPLOY / "dataflow" / "metadata.json").read_text())["parameters"]}
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        flag = {"input": "--input", "output": "--dataset"}.get(name)
        if name not in known:
            raise UserError(f"--parameter {parameter}: expected one of {', '.join(sorted(known))}")
        if flag and not re.match("^ *['\"]?gs://[^/]+/.", value):
            raise UserError(f"{flag} {value}: expected gs://BUCKET/NAME, as Dataflow's workers read and write there")
    options.parse(flags([f"--{parameter}" for parameter in parameters]))


def _check_exports(trainer_flags: list[str]) -> None:
    from trainer import UserError, task

    config = task.parse(["--data", "gs://b/dataset", "--output", "gs://b/model", *trainer_flags])
    if "saved_model" not in config.names_of_exports:
        raise UserError(f"--exports {config.exports}: expected saved_model among them, as the pipeline uploads it")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        end = sys.argv.index("--")
        sys.exit(check(sys.argv[2:end], sys.argv[end + 1 :]))
    print(dumps(pipeline_job(*read_words(sys.argv[1:]))))
