"""Tests the pipeline for Vertex AI Pipelines with KFP itself: what it compiles to, and what its components ask for.

KFP and the components come into an environment of their own, below build/. It takes a minute the first time.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.components import arguments, module
from tests.deploy.test_vertex_pipeline import ENDPOINT, GOOD, SERVING_IMAGE, request, values

VERTEX = ROOT / "deploy" / "vertex"
PIPELINE = yaml.safe_load((VERTEX / "pipeline.yaml").read_text())
REQUIREMENTS = VERTEX / "requirements-pipeline.txt"


@pytest.fixture(scope="module")
def python():
    """The Python of the environment with KFP."""
    name = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = ROOT / "build" / f"kfp-{name}"
    done = folder / "done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [folder / "bin" / "pip", "install", "--quiet", "--requirement", REQUIREMENTS]
        installed = subprocess.run(install, capture_output=True, text=True, timeout=900)
        if installed.returncode:
            pytest.skip(f"KFP cannot be installed here: {installed.stderr.strip().splitlines()[-1]}")
        done.touch()
    return folder / "bin" / "python"


@pytest.fixture
def ask(python, tmp_path):
    """A function that runs a step's component, and returns what it asked for."""

    def run(task, given, *answers, executor_input=None, resources=None):
        executor_input = executor_input or {}
        executor_input["outputs"] = {**executor_input.get("outputs", {}), "outputFile": str(tmp_path / "output.json")}
        places = {
            "{{$.outputs.parameters['gcp_resources'].output_file}}": str(tmp_path / "gcp_resources"),
            "{{$}}": json.dumps(executor_input),
        }
        program = {
            "module": module(PIPELINE, task),
            "arguments": [places.get(word, word) for word in arguments(PIPELINE, task, given, resources)],
            "answers": answers,
        }
        done = subprocess.run(
            [python, Path(__file__).with_name("kfp_component.py")],
            input=json.dumps(program), capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), tmp_path

    return run


@pytest.fixture(scope="module")
def given():
    return values(request({"--endpoint": "123"}, more=("--parameter", "overwrite=false")))


def test_the_compiled_pipeline_is_what_its_source_makes(python):
    compiled = subprocess.run([python, VERTEX / "pipeline.py"], capture_output=True, text=True, timeout=300)

    assert compiled.returncode == 0, compiled.stderr
    assert compiled.stdout == (VERTEX / "pipeline.yaml").read_text(), (
        "python deploy/vertex/pipeline.py > deploy/vertex/pipeline.yaml"
    )


def test_dataflow_is_asked_for_the_template_with_its_parameters(ask, given):
    job = {"projectId": "p", "location": "europe-west4", "id": "42"}
    ((address, body),), folder = ask("dataflow-flex-template", given, {"job": job})

    assert address.endswith("/locations/europe-west4/flexTemplates:launch")
    launch = body["launch_parameter"]
    assert launch["container_spec_gcs_path"] == GOOD["--template"]
    assert launch["parameters"] == {
        "input": GOOD["--input"], "output": GOOD["--dataset"], "overwrite": "false",
    }  # fmt: skip
    assert launch["environment"]["temp_location"] == GOOD["--temp_location"]
    assert "max_workers" not in launch["environment"]  # 0, so Dataflow chooses
    (resource,) = json.loads((folder / "gcp_resources").read_text())["resources"]
    assert resource["resourceType"] == "DataflowJob"  # which the next step waits for
    assert resource["resourceUri"].endswith("/projects/p/locations/europe-west4/jobs/42")


def test_vertex_ai_is_asked_for_the_training(ask, given):
    ((parent, job),), _ = ask("custom-training-job", given)

    assert parent.endswith("/locations/europe-west4")
    (pool,) = job["job_spec"]["worker_pool_specs"]
    assert pool["container_spec"]["args"] == [
        "--data", GOOD["--dataset"], "--output", GOOD["--output"], "--resume",
    ]  # fmt: skip
    assert pool["machine_spec"]["accelerator_type"] == "NVIDIA_L4"
    assert int(pool["replica_count"]) == pool["machine_spec"]["accelerator_count"] == 1
    assert job["job_spec"]["scheduling"]["restart_job_on_worker_restart"] is True


def test_the_model_registry_gets_the_model(ask, given):
    """The importer before this step makes an artifact of the model's address and the container that serves it."""
    artifact = {"uri": given["saved_model"], "metadata": {"containerSpec": {"imageUri": given["serving_image"]}}}
    output = {"name": "m", "type": {"schemaTitle": "google.VertexModel"}, "uri": "", "metadata": {}}
    executor_input = {
        "inputs": {"artifacts": {"unmanaged_container_model": {"artifacts": [artifact]}}},
        "outputs": {"artifacts": {"model": {"artifacts": [output]}}},
    }
    name = "projects/p/locations/europe-west4/models/7"
    answer = {"name": "operations/1", "done": True, "response": {"model": name, "modelVersionId": "1"}}
    ((address, body),), folder = ask("model-upload", given, answer, executor_input=executor_input)

    assert address.endswith("/locations/europe-west4/models:upload")
    assert body["model"]["display_name"] == "word2vec"
    assert body["model"]["artifact_uri"] == "gs://bucket/model/saved_model"
    assert body["model"]["container_spec"] == {"image_uri": SERVING_IMAGE}
    (model,) = json.loads((folder / "output.json").read_text())["artifacts"]["model"]["artifacts"]
    assert model["metadata"]["resourceName"] == f"{name}@1"  # which the endpoint gets


def test_the_endpoint_gets_the_model(ask, given):
    model = "projects/p/locations/europe-west4/models/7@1"
    answer = {"name": "projects/p/operations/1", "done": True, "response": {}}
    resources = {"endpoint": ENDPOINT, "model": model}
    ((address, body),), _ = ask("model-deploy", given, answer, resources=resources)

    assert address.endswith(f"/v1/{ENDPOINT}:deployModel")
    assert body["deployed_model"]["model"] == model and body["traffic_split"] == {"0": "100"}
    machines = body["deployed_model"]["dedicated_resources"]
    assert machines["machine_spec"] == {"machine_type": "n1-standard-4"}
    assert machines["min_replica_count"] == machines["max_replica_count"] == 1


def test_the_python_client_takes_the_pipeline_and_its_values(given):
    """It compares the values with the parameters, as `aiplatform.PipelineJob(...).submit()` does."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform

    job = aiplatform.PipelineJob(
        display_name="some-run",
        template_path=str(VERTEX / "pipeline.yaml"),
        pipeline_root="gs://bucket/tmp/pipeline_root",
        parameter_values=given,
        project="some-project",
        location="europe-west4",
        credentials=AnonymousCredentials(),
    )
    made = job.to_dict()
    asked = request({"--endpoint": "123"}, more=("--parameter", "overwrite=false"))
    assert made["runtimeConfig"]["parameterValues"] == asked["runtimeConfig"]["parameterValues"]
    assert made["pipelineSpec"]["root"] == PIPELINE["root"]
