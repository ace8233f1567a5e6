"""Tests the pipeline for Vertex AI Pipelines: pipeline.yaml, and the request with which run_pipeline.sh starts it.

Vertex AI's own types, the pipeline's parser and the trainer's read what is requested. That pipeline.yaml is what
pipeline.py makes, and what its components send, is tested in tests/integration, as it takes the packages of Kubeflow.
"""

import ast
import functools
import graphlib
import http.server
import json
import os
import re
import runpy
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from google.cloud.aiplatform_v1.types import CustomJob, CustomJobSpec, PipelineJob

from pipeline import options
from tests.deploy.components import payload
from trainer import task

ROOT = Path(__file__).parents[2]
VERTEX = ROOT / "deploy" / "vertex"
SCRIPT = VERTEX / "run_pipeline.sh"
PIPELINE = yaml.load((VERTEX / "pipeline.yaml").read_text(), yaml.CSafeLoader)
SERVING_IMAGE = runpy.run_path(str(ROOT / "deploy" / "common.py"))["SERVING_IMAGE"]
GOOD = {
    "--project": "some-project",
    "--region": "europe-west4",
    "--template": "gs://bucket/templates/word2vec-beam-1.json",
    "--temp_location": "gs://bucket/tmp",
    "--input": "gs://bucket/a/*.txt 'gs://bucket/b c.txt'",
    "--dataset": "gs://bucket/dataset",
    "--image": "europe-docker.pkg.dev/some-project/images/word2vec-trainer:0.1.0",
    "--output": "gs://bucket/model",
}
BASE = {
    "--output": None,
    "--base_output": "gs://bucket/base/",
    "--service_account": "a@p.iam.gserviceaccount.com",
    "--network": "projects/12345/global/networks/n",
    "--tensorboard": "projects/p/locations/europe-west4/tensorboards/12",
}
ENDPOINT = "projects/some-project/locations/europe-west4/endpoints/123"
LABELLED = {
    "--labels": "team=texts,cost=a1",
    "--service_account": "a@p.iam.gserviceaccount.com",
    "--endpoint": "123",
    "--reuse": True,
}
CHANGED = ({"--job_name": "some-run"}, "--epochs", "3")
PARAMETERS = ("--parameter", "min_count=7", "--parameter=overwrite=true")
TRAINING = "custom-training-job"


def words(changes):
    """The flags of a good run with some changes: None leaves a flag out, and True gives it no value."""
    merged = {**GOOD, **changes}
    return [word for flag, value in merged.items() if value for word in ((flag,) if value is True else (flag, value))]


def run(*args, **environment):
    return subprocess.run(
        [SCRIPT, *args], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )


def request(changes, *trainer_flags, more=()):
    """The request that would be sent."""
    trainers = ("--", *trainer_flags) if trainer_flags else ()
    return json.loads(printed(*words(changes), *more, "--dry_run", *trainers))


@functools.cache
def printed(*args):
    result = run(*args)
    assert result.returncode == 0, result.stderr
    return result.stdout.partition("\n\n")[0]


def values(made):
    return made["runtimeConfig"]["parameterValues"]


# --- pipeline.yaml ----------------------------------------------------------------------------------------------------


def test_the_parameters_are_those_of_the_function():
    (function,) = (
        each for each in ast.parse((VERTEX / "pipeline.py").read_text()).body if isinstance(each, ast.FunctionDef)
    )
    types = {"str": "STRING", "int": "NUMBER_INTEGER", "dict": "STRUCT", "list": "LIST"}
    stated = {each.arg: types[ast.unparse(each.annotation).partition("[")[0]] for each in function.args.args}
    compiled = PIPELINE["root"]["inputDefinitions"]["parameters"]

    assert {name: each["parameterType"] for name, each in compiled.items()} == stated
    assert all(each["description"] for each in compiled.values())
    assert compiled["serving_image"]["defaultValue"] == SERVING_IMAGE


def test_each_step_begins_when_the_one_before_has_succeeded():
    tasks = PIPELINE["root"]["dag"]["tasks"]
    order = {name: set(each.get("dependentTasks", ())) for name, each in tasks.items()}

    assert [*graphlib.TopologicalSorter(order).static_order()] == [
        "dataflow-flex-template", "wait-gcp-resources", "importer", TRAINING, "importer-2", "model-upload",
        "condition-1",
    ]  # fmt: skip
    assert not any("triggerPolicy" in each for name, each in tasks.items() if name != "condition-1")


def caching(pipeline):
    dags = [pipeline["root"]["dag"], *(each["dag"] for each in pipeline["components"].values() if "dag" in each)]
    tasks = {name: each for dag in dags for name, each in dag["tasks"].items() if not name.startswith("condition")}
    return {name: each["cachingOptions"].get("enableCache", False) for name, each in tasks.items()}


def test_no_step_is_skipped_unless_the_user_says_so():
    assert len(caching(PIPELINE)) == 8
    assert request({})["pipelineSpec"] == PIPELINE and not any(caching(PIPELINE).values())
    assert all(caching(request(LABELLED)["pipelineSpec"]).values())


# --- What is requested ------------------------------------------------------------------------------------------------


def test_the_request_is_one_that_vertex_ai_knows():
    made = request(LABELLED)
    job = PipelineJob.from_json(json.dumps(made))  # fails at unknown fields

    assert dict(job.labels) == {"team": "texts", "cost": "a1"}
    assert job.service_account == "a@p.iam.gserviceaccount.com" == values(made)["service_account"]
    assert job.runtime_config.gcs_output_directory == "gs://bucket/tmp/pipeline_root"
    assert "labels" not in request({}) and "serviceAccount" not in request({})


def test_every_parameter_has_a_value_of_its_type():
    kinds = {"STRING": str, "NUMBER_INTEGER": int, "STRUCT": dict, "LIST": list}
    parameters = PIPELINE["root"]["inputDefinitions"]["parameters"]
    given = values(request({}))

    assert given.keys() == parameters.keys()
    assert all(type(given[name]) is kinds[each["parameterType"]] for name, each in parameters.items())


def test_the_template_and_the_trainer_share_the_dataset():
    given = values(request(*CHANGED, more=PARAMETERS))
    flags = runpy.run_path(str(ROOT / "deploy" / "dataflow" / "template_main.py"))["flags"]
    made = options.parse(flags([f"--{name}={value}" for name, value in given["template_parameters"].items()])).config
    (pool,) = given["worker_pool_specs"]
    trainer = task.parse(pool["container_spec"]["args"])

    assert made.output == trainer.data == given["dataset"] == "gs://bucket/dataset"
    assert made.input == ("gs://bucket/a/*.txt", "gs://bucket/b c.txt")
    assert (made.min_count, made.overwrite, trainer.epochs, trainer.resume) == (7, True, 3, True)
    assert given["saved_model"] == f"{trainer.output}/saved_model" == "gs://bucket/model/saved_model"
    assert "saved_model" in trainer.names_of_exports


def test_the_parameters_are_known_to_the_template():
    metadata = json.loads((ROOT / "deploy" / "dataflow" / "metadata.json").read_text())
    patterns = {each["name"]: each["regexes"][0] for each in metadata["parameters"]}
    given = values(request(*CHANGED, more=PARAMETERS))["template_parameters"]

    assert given.keys() == {"input", "output", "min_count", "overwrite"}
    assert all(re.search(patterns[name], value) for name, value in given.items())


@pytest.mark.parametrize(
    "changes, trainer_flags",
    [
        ({}, ()),
        ({"--replicas": "3", "--spot": True, "--timeout_hours": "48", "--disk_gb": "200"}, ()),
        (BASE, ()),
    ],
)
def test_the_component_asks_for_the_job_that_run_sh_submits(changes, trainer_flags):
    """The component's payload is made as Vertex AI makes it, and read by the type that the component gives it to."""
    given = values(request(changes, *trainer_flags))
    asked = payload(PIPELINE, TRAINING, given)
    del asked["job_spec"]["scheduling"]["max_wait_duration"]  # as the component does

    job = {flag: value for flag, value in {**GOOD, **changes}.items() if value and flag in RUN_SH}
    arguments = [word for flag, value in job.items() for word in ((flag,) if value is True else (flag, value))]
    alone = subprocess.run(
        [VERTEX / "run.sh", *arguments, "--data", GOOD["--dataset"], "--dry_run", "--", *trainer_flags],
        capture_output=True, text=True, check=True,
    ).stdout.partition("\n\n")[0]  # fmt: skip
    assert without_empty(CustomJob(asked).job_spec) == without_empty(CustomJobSpec.from_json(alone))


def without_empty(message):
    """A message of the API as a dict without what is empty, as fields are that are not set."""

    def strip(value):
        if isinstance(value, dict):
            return {name: below for name, each in value.items() if (below := strip(each)) not in ({}, [], "")}
        return [strip(each) for each in value] if isinstance(value, list) else value

    return strip(type(message).to_dict(message, use_integers_for_enums=False))


RUN_SH = set(re.findall(r"--[a-z_]+", (VERTEX / "run.sh").read_text()))


def test_with_a_base_the_model_is_where_vertex_ai_tells_the_trainer_to_write():
    given = values(request(BASE))
    assert given["saved_model"] == "gs://bucket/base/model/saved_model"
    assert given["base_output"] == "gs://bucket/base/"


def test_an_endpoint_gets_the_model():
    assert values(request({}))["endpoint"] == ""
    given = values(request(LABELLED))
    assert given["endpoint"] == ENDPOINT and given["endpoint_uri"].endswith(f"googleapis.com/v1/{ENDPOINT}")
    condition = PIPELINE["root"]["dag"]["tasks"]["condition-1"]
    assert condition["triggerPolicy"]["condition"] == "inputs.parameter_values['pipelinechannel--endpoint'] != ''"


# --- The script -------------------------------------------------------------------------------------------------------


@pytest.fixture
def vertex_ai(tmp_path):
    """A service that notes requests, and the environment in which curl and a gcloud that has a token find it."""
    received, status = [], [200]

    class Service(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((self.path, self.headers["Authorization"], body))
            self.send_response(status[0])
            answer = b"{}" if status[0] == 200 else b'{\n  "error": {"message": "no such\\nbucket"}\n}\n'
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    gcloud = tmp_path / "gcloud"
    gcloud.write_text('#!/bin/sh\n[ "$*" = "auth print-access-token" ] && echo a-token\n')
    gcloud.chmod(0o755)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": f"http://127.0.0.1:{server.server_port}/",
            "NO_PROXY": "127.0.0.1",
        }
        yield environment, received, status
        server.shutdown()


def test_what_is_sent_is_what_the_dry_run_shows(vertex_ai):
    environment, received, _ = vertex_ai
    result = run(*words(CHANGED[0]), *PARAMETERS, "--", *CHANGED[1:], **environment)

    assert (result.returncode, result.stderr) == (0, "")
    ((path, token, body),) = received
    assert path == "/v1/projects/some-project/locations/europe-west4/pipelineJobs?pipelineJobId=some-run"
    assert token == "Bearer a-token"
    assert body == request(*CHANGED, more=PARAMETERS)
    assert "runs/some-run?project=some-project" in result.stdout and "a-token" not in result.stdout


def test_a_refusal_of_the_service_is_told_in_one_line(vertex_ai):
    environment, received, status = vertex_ai
    status[0] = 403
    result = run(*words({}), **environment)

    assert result.returncode == 1 and received
    assert result.stderr.startswith("run_pipeline.sh: Vertex AI did not take the pipeline: curl: (22)")
    assert "no such" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "changes, more, named",
    [
        ({"--template": None}, (), "--template is missing"),
        ({"--dataset": None}, (), "--dataset is missing"),
        ({"--output": None}, (), "--output is missing: expected --output or --base_output"),
        ({"--template": "x.json"}, (), "--template x.json: expected gs://"),
        ({"--temp_location": 'gs://b/"'}, (), "--temp_location gs://b/"),
        ({"--max_workers": "many"}, (), "--max_workers many"),
        ({"--endpoint": ENDPOINT}, (), f"--endpoint {ENDPOINT}: expected its number"),
        ({"--model_name": "a b"}, (), "--model_name a b: expected only"),
        ({"--job_name": "A_run"}, (), "--job_name A_run: expected"),
        ({"--disk_gb": "1G"}, (), "--disk_gb 1G: expected"),
        ({"--accelerator_count": "3"}, (), "--accelerator_count 3: expected 1 for --machine_type g2-standard-8"),
        ({"--labels": "Team=a"}, (), "--labels Team=a: expected"),
        ({"--epochs": "3"}, (), "unknown argument --epochs"),
        ({}, ("--", "--epcohs", "3"), "--epcohs"),
        ({"--input": "text/*.txt"}, (), "--input text/*.txt: expected gs://"),
        ({"--parameter": "min_count"}, (), "--parameter min_count: expected NAME=VALUE"),
        ({"--parameter": "output=gs://b/d"}, (), "--parameter output=gs://b/d: expected --input and --dataset"),
        ({}, ("--", "--data", "gs://b/d"), "--data: expected it before --"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(vertex_ai, changes, more, named):
    environment, received, _ = vertex_ai
    result = run(*words(changes), *more, **environment)

    assert result.returncode == 2 and not result.stdout and not received
    assert named in result.stderr and result.stderr.count("\n") == 1
    assert result.stderr.startswith("run_pipeline.sh: ")


@pytest.mark.parametrize(
    "parameters, trainer_flags, named",
    [
        (("input=gs://b/it's",), (), "--input gs://b/it's: No closing quotation"),
        (("output=/d",), (), "--dataset /d: expected gs://BUCKET/NAME"),
        (("mincount=3",), (), "--parameter mincount=3: expected one of"),
        (("plan=0.1",), (), "--parameter plan=0.1: expected one of"),
        (("min_count=0",), (), "--min_count 0"),
        (("overwrite=yes",), (), "--overwrite"),
        ((), ("--exports", "vectors.bin"), "--exports vectors.bin: expected saved_model among them"),
        ((), ("--epochs", "0"), "--epochs 0"),
        (("min_count=3", "overwrite=true", "column=items", "tokenizer=whitespace"), ("--exports", "all"), None),
    ],
)
def test_the_programs_check_their_flags_before_anything_is_sent(parameters, trainer_flags, named, capsys):
    check = runpy.run_path(str(VERTEX / "pipeline_job.py"))["check"]
    given = {"input": "gs://b/a", "output": "gs://b/d"} | dict(each.split("=", 1) for each in parameters)
    code = check([f"{name}={value}" for name, value in given.items()], list(trainer_flags))
    told = capsys.readouterr().err

    assert code == (2 if named else 0)
    assert not named or (named in told and told.startswith("run_pipeline.sh: ") and told.count("\n") == 1)


def test_help_names_every_flag():
    result = run("--help")
    known = set(re.findall(r"(--[a-z_]+)(?= \||\))", SCRIPT.read_text())) - {"--help"}

    assert result.returncode == 0 and len(known) > 20
    assert known <= set(re.findall(r"--[a-z_]+", result.stdout))
