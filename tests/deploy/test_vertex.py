"""Tests the job for Vertex AI and the trainer's image, without Vertex AI.

Vertex AI's own types and the trainer's own parser read the job.
"""

import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from google.cloud.aiplatform_v1.types import CustomJob, CustomJobSpec

from tests.deploy.dockerfile import instructions
from trainer import task
from trainer.config import TrainerConfig

ROOT = Path(__file__).parents[2]
VERTEX = ROOT / "deploy" / "vertex"
IMAGE = "europe-docker.pkg.dev/some-project/images/word2vec-trainer:0.1.0-abc-20260101-000000"
JOB = {
    "--project": "some-project",
    "--region": "europe-west4",
    "--image": IMAGE,
    "--data": "gs://bucket/dataset",
    "--output": "gs://bucket/model",
}
FOUR_GPUS = {"--machine_type": "g2-standard-48", "--accelerator_count": "4"}
TENSORBOARD = {
    "--output": None,
    "--base_output": "gs://bucket/base",
    "--service_account": "a@some-project.iam.gserviceaccount.com",
    "--tensorboard": "projects/p/locations/europe-west4/tensorboards/12",
}
REPOSITORY = "europe-docker.pkg.dev/some-project/images"


def script(name: str, *args, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [VERTEX / name, *args], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )


def flags(changes: dict[str, str]) -> list[str]:
    """Returns the flags of a good job with some changes: None leaves a flag out, and True gives it no value."""
    merged = {**JOB, **changes}
    return [word for flag, value in merged.items() if value for word in ((flag,) if value is True else (flag, value))]


def dry_run(changes: dict[str, str], *trainer_flags: str) -> CustomJobSpec:
    """Returns the specification that would be submitted. Like Vertex AI, it fails at unknown fields and values."""
    result = script("run.sh", *flags(changes), "--dry_run", *(("--", *trainer_flags) if trainer_flags else ()))
    assert result.returncode == 0, result.stderr
    return CustomJobSpec.from_json(json.dumps(yaml.safe_load(result.stdout.partition("\n\n")[0])))


@pytest.fixture
def programs(tmp_path):
    """Makes a gcloud and a docker that only note their arguments.

    Returns the environment in which a script finds them, and a function that returns their calls.
    """
    for name in ("gcloud", "docker"):
        (tmp_path / name).write_text(
            f'#!/bin/sh\nprintf "%s\\0" {name} "$@" >>{tmp_path}/log; printf "\\n" >>{tmp_path}/log\n'
            f'for arg; do case $arg in --config=/*) cp "${{arg#--config=}}" {tmp_path}/config ;; esac; done\n'
            f"exit ${{EXIT_CODE:-0}}\n"
        )
        (tmp_path / name).chmod(0o755)

    def calls() -> list[list[str]]:
        log = tmp_path / "log"
        return [line.rstrip("\0").split("\0") for line in log.read_text().splitlines()] if log.exists() else []

    return {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, calls


# --- The job ----------------------------------------------------------------------------------------------------------


def test_the_job_has_what_was_asked_for():
    (pool,) = dry_run({}).worker_pool_specs
    assert (pool.replica_count, pool.container_spec.image_uri) == (1, IMAGE)
    assert pool.machine_spec.machine_type == "g2-standard-8"
    assert (pool.machine_spec.accelerator_type.name, pool.machine_spec.accelerator_count) == ("NVIDIA_L4", 1)
    assert not pool.container_spec.command  # so the image's own runs

    job = dry_run(
        {
            "--machine_type": "n2-standard-8", "--accelerator": "none", "--disk_gb": "300", "--timeout_hours": "48",
            "--spot": True, "--service_account": "trainer@some-project.iam.gserviceaccount.com",
        }
    )  # fmt: skip
    (pool,) = job.worker_pool_specs
    assert (pool.machine_spec.machine_type, pool.machine_spec.accelerator_count) == ("n2-standard-8", 0)
    assert not pool.machine_spec.accelerator_type
    assert pool.disk_spec.boot_disk_size_gb == 300
    assert job.scheduling.timeout.total_seconds() == 48 * 3600
    assert job.scheduling.strategy.name == "SPOT" and job.scheduling.restart_job_on_worker_restart
    assert job.service_account == "trainer@some-project.iam.gserviceaccount.com"


def test_a_job_on_several_machines_has_a_pool_for_the_chief():
    """Vertex AI makes TF_CONFIG from the pools: the first is the chief, and the second has the other machines."""
    (alone,) = dry_run({}).worker_pool_specs
    chief, others = dry_run({"--replicas": "4"}).worker_pool_specs
    assert (chief.replica_count, others.replica_count) == (1, 3)
    assert chief.machine_spec == others.machine_spec == alone.machine_spec
    assert chief.disk_spec == others.disk_spec == alone.disk_spec
    assert chief.container_spec == others.container_spec
    assert [*chief.container_spec.args] == [*alone.container_spec.args[:-1], "--wait_minutes", "60", "--resume"]
    assert not chief.container_spec.command  # the image starts the trainer itself, so that it gets the signals


@pytest.mark.parametrize(
    "replicas, trainer_flags, minutes",
    [
        ("1", (), 1),
        ("2", (), 60),
        ("2", ("--wait_minutes", "5"), 5),
        ("2", ("--wait_minutes=5",), 5),
    ],
)
def test_machines_wait_for_each_other(replicas, trainer_flags, minutes):
    """Vertex AI does not start machines at the same time."""
    for pool in dry_run({"--replicas": replicas}, *trainer_flags).worker_pool_specs:
        arguments = list(pool.container_spec.args)
        assert " ".join(arguments).count("--wait_minutes") == (replicas != "1")
        assert task.parse(arguments).wait_minutes == minutes


@pytest.mark.parametrize(
    "changes, trainer_flags, expected",
    [
        ({}, (), ()),
        (FOUR_GPUS, (), ("--devices", "all")),
        (FOUR_GPUS, ("--devices", "2"), ("--devices", "2")),
        (FOUR_GPUS, ("--devices=2",), ("--devices=2",)),
        (
            {"--machine_type": "a2-highgpu-8g", "--accelerator": "NVIDIA_TESLA_A100", "--accelerator_count": "8"},
            (),
            ("--devices", "all"),
        ),
        (
            {"--machine_type": "n1-standard-8", "--accelerator": "NVIDIA_TESLA_T4", "--accelerator_count": "2"},
            (),
            ("--devices", "all"),
        ),
        ({"--machine_type": "n2-standard-8", "--accelerator": "none"}, (), ()),
        ({"--machine_type": "n2-standard-8", "--accelerator": "none"}, ("--devices", "4"), ("--devices", "4")),
    ],
)
def test_the_trainer_uses_all_gpus_of_its_machine(changes, trainer_flags, expected):
    (pool,) = dry_run(changes, *trainer_flags).worker_pool_specs
    gpus = int(changes.get("--accelerator_count", changes.get("--accelerator") != "none"))
    assert pool.machine_spec.accelerator_count == gpus
    assert tuple(pool.container_spec.args)[4:-1] == expected


@pytest.mark.parametrize(
    "machine, gpus",
    [
        ("g2-standard-4", 1), ("g2-standard-32", 1), ("g2-standard-24", 2), ("g2-standard-48", 4),
        ("g2-standard-96", 8), ("a2-highgpu-2g", 2), ("a2-megagpu-16g", 16), ("a2-ultragpu-4g", 4),
        ("a3-megagpu-8g", 8), ("a3-highgpu-8g", 8), ("a4-highgpu-8g", 8),
    ],
)  # fmt: skip
def test_a_number_of_gpus_that_the_machine_does_not_have_is_refused(machine, gpus):
    job = flags({"--machine_type": machine, "--accelerator_count": str(gpus % 16 + 1)})
    result = script("run.sh", *job, "--dry_run")
    assert result.returncode == 2 and not result.stdout
    assert f"expected {gpus} for --machine_type {machine}" in result.stderr


def test_vertex_ai_tells_the_trainer_its_folders(monkeypatch):
    account, tensorboard = "a@some-project.iam.gserviceaccount.com", "projects/p/locations/europe-west4/tensorboards/12"
    changes = {"--output": None, "--base_output": "gs://bucket/base", "--service_account": account}
    changes |= {"--tensorboard": tensorboard, "--network": "projects/12345/global/networks/my-network"}
    job = dry_run(changes)
    assert job.base_output_directory.output_uri_prefix == "gs://bucket/base"
    assert (job.service_account, job.tensorboard) == (account, tensorboard)
    assert job.network == "projects/12345/global/networks/my-network"
    arguments = list(job.worker_pool_specs[0].container_spec.args)
    assert "--output" not in arguments
    for name, folder in (("MODEL", "model"), ("CHECKPOINT", "checkpoints"), ("TENSORBOARD_LOG", "logs")):
        monkeypatch.setenv(f"AIP_{name}_DIR", f"gs://bucket/base/{folder}/")  # as Vertex AI does
    assert task.parse(arguments).output.rstrip("/") == "gs://bucket/base/model"

    plain = dry_run({})
    assert not (plain.base_output_directory or plain.network or plain.tensorboard or plain.service_account)


@pytest.mark.parametrize("base", ["gs://bucket/base", "gs://bucket/base/"])
def test_the_folders_below_the_base_are_told(base):
    result = script("run.sh", *flags({"--output": None, "--base_output": base}), "--dry_run")
    assert result.returncode == 0, result.stderr
    for words in (
        "model       gs://bucket/base/model,",
        "--logdir gs://bucket/base/logs\n",
        " gs://bucket/base/model/v",
    ):
        assert words in result.stdout


def test_a_job_has_labels(programs):
    environment, calls = programs
    result = script("run.sh", *flags({"--labels": "team=texts,cost-center=a_1,empty="}), **environment)
    assert result.returncode == 0, result.stderr
    (call,) = calls()
    assert "--labels=team=texts,cost-center=a_1,empty=" in call

    script("run.sh", *flags({}), **environment)
    assert not [word for word in calls()[1] if word.startswith("--labels")]


@pytest.mark.parametrize(
    "changes, trainer_flags, expected",
    [
        ({}, (), {"resume": True}),
        ({}, ("--epochs", "3", "--precision=float32"), {"epochs": 3, "precision": "float32", "resume": True}),
        ({}, ("--resume",), {"resume": True}),
        ({}, ("--overwrite",), {"overwrite": True}),
        (
            {"--output": "gs://bucket/it's: a {model}, #1"},
            (),
            {"output": "gs://bucket/it's: a {model}, #1", "resume": True},
        ),
    ],
)
def test_the_trainer_is_given_its_flags(changes, trainer_flags, expected):
    (pool,) = dry_run(changes, *trainer_flags).worker_pool_specs
    paths = {"data": JOB["--data"], "output": JOB["--output"]}
    assert task.parse(list(pool.container_spec.args)) == TrainerConfig(**{**paths, **expected})


def test_what_is_submitted_is_what_the_dry_run_shows(programs, tmp_path):
    environment, calls = programs
    result = script("run.sh", *flags({"--job_name": "some-job"}), "--", "--epochs", "3", **environment)
    assert result.returncode == 0, result.stderr
    (call,) = calls()
    assert call[:4] == ["gcloud", "ai", "custom-jobs", "create"]
    assert {"--project=some-project", "--region=europe-west4", "--display-name=some-job"} < set(call)
    submitted = CustomJobSpec.from_json(json.dumps(yaml.safe_load((tmp_path / "config").read_text())))
    assert submitted == dry_run({}, "--epochs", "3")
    assert not Path(call[-1].removeprefix("--config=")).exists()  # the temporary file is gone

    assert script("run.sh", *flags({}), EXIT_CODE="3", **environment).returncode == 3


@pytest.mark.skipif(not shutil.which("gcloud"), reason="no gcloud on this machine")
def test_gcloud_itself_submits_the_job(tmp_path):
    received = []

    class VertexAI(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((self.path.partition("?")[0], job))
            reply = json.dumps({**job, "name": f"{self.path[4:].partition('?')[0]}/42", "state": "JOB_STATE_PENDING"})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), VertexAI) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        result = script(
            "run.sh", *flags({"--spot": True}), "--", "--epochs", "3",
            CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM=f"http://127.0.0.1:{server.server_port}/",
            CLOUDSDK_AUTH_DISABLE_CREDENTIALS="true", CLOUDSDK_CORE_DISABLE_PROMPTS="1", CLOUDSDK_CONFIG=str(tmp_path),
            NO_PROXY="127.0.0.1", no_proxy="127.0.0.1",
        )  # fmt: skip
        server.shutdown()
    assert result.returncode == 0, result.stderr
    ((path, job),) = received
    assert path == "/v1/projects/some-project/locations/europe-west4/customJobs"
    assert CustomJob.from_json(json.dumps(job)).job_spec == dry_run({"--spot": True}, "--epochs", "3")


@pytest.mark.parametrize(
    "changes, trainer_flags, named",
    [
        ({"--data": None}, (), "--data is missing"),
        ({"--region": None}, (), "--region is missing"),
        ({"--data": "dataset"}, (), "--data dataset: expected gs://"),
        ({"--output": "gs://bucket"}, (), "--output gs://bucket: expected gs://"),
        ({"--disk_gb": "100G"}, (), "--disk_gb 100G"),
        ({"--timeout_hours": "1.5"}, (), "--timeout_hours 1.5"),
        ({"--machine_type": "n1 {"}, (), "--machine_type n1 {"),
        ({"--epochs": "3"}, (), "--epochs"),
        ({"--image": "--spot"}, (), "--image has no value"),
        ({}, ("--epcohs", "3"), "--epcohs"),
        ({}, ("--embedding_dim", "0"), "--embedding_dim 0"),
        ({}, ("--overwrite", "--resume"), "--overwrite and --resume"),
        ({"--output": None}, (), "--output is missing: expected --output or --base_output"),
        ({"--base_output": "gs://b/o"}, (), "--output gs://bucket/model and --base_output gs://b/o contradict"),
        ({"--output": None, "--base_output": "gs://b"}, (), "--base_output gs://b: expected gs://"),
        ({}, ("--output", "gs://b/o"), "--output: expected it before --"),
        ({}, ("--data=gs://b/d",), "--data=gs://b/d: expected it before --"),
        ({"--accelerator_count": "0"}, (), "--accelerator_count 0: expected"),
        ({"--accelerator_count": "17"}, (), "--accelerator_count 17: expected"),
        ({"--accelerator_count": "2"}, (), "--accelerator_count 2: expected 1 for --machine_type g2-standard-8"),
        (
            {"--machine_type": "g2-standard-96"},
            (),
            "--accelerator_count 1: expected 8 for --machine_type g2-standard-96",
        ),
        ({"--machine_type": "a3-highgpu-8g"}, (), "--accelerator_count 1: expected 8 for --machine_type a3-highgpu-8g"),
        ({"--accelerator": "none", "--accelerator_count": "1"}, (), "--accelerator_count 1: expected an --accelerator"),
        ({"--replicas": "0"}, (), "--replicas 0: expected"),
        ({"--replicas": "two"}, (), "--replicas two: expected"),
        ({"--replicas": "129"}, (), "--devices 1 makes 129 processes"),
        ({"--replicas": "33"} | FOUR_GPUS, (), "--devices all makes 132 processes"),
        (FOUR_GPUS, ("--devices", "5"), "--devices 5: this machine has 4 GPUs"),
        ({}, ("--devices", "2"), "--devices 2: this machine has 1 GPU "),
        ({"--labels": "Team=a"}, (), "--labels Team=a: expected"),
        ({"--labels": "team"}, (), "--labels team: expected"),
        ({"--labels": "a=b,,c=d"}, (), "--labels a=b,,c=d: expected"),
        ({"--labels": f"{'a' * 64}=b"}, (), "=b: expected"),
        ({"--network": "my-network"}, (), "--network my-network: expected"),
        ({"--network": "projects/p/global/networks/n"}, (), "--network projects/p/global/networks/n: expected"),
        (TENSORBOARD | {"--tensorboard": "12"}, (), "--tensorboard 12: expected"),
        (TENSORBOARD | {"--region": "us-east1"}, (), "expected one in --region us-east1"),
        (TENSORBOARD | {"--service_account": None}, (), "--service_account is missing: expected it with --tensorboard"),
        (
            TENSORBOARD | {"--base_output": None, "--output": "gs://b/o"},
            (),
            "--base_output is missing: expected it with --tensorboard",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_submitted(programs, changes, trainer_flags, named):
    environment, calls = programs
    result = script("run.sh", *flags(changes), "--", *trainer_flags, **environment)
    assert result.returncode == 2
    assert named in result.stderr and result.stderr.count("\n") == 1 and result.stderr.startswith("run.sh: ")
    assert not calls() and not result.stdout


# --- The image --------------------------------------------------------------------------------------------------------


def test_the_image_is_built_and_pushed_by_cloud_build(programs):
    environment, calls = programs
    result = script("build_image.sh", "--repository", REPOSITORY, "--project", "some-project", **environment)
    assert result.returncode == 0, result.stderr
    (call,) = calls()
    assert call[:4] == ["gcloud", "builds", "submit", "."]
    assert {"--project=some-project", "--config=deploy/vertex/cloudbuild.yaml"} < set(call)
    (values,) = (argument.removeprefix("--substitutions=").split(",") for argument in call[6:])
    given = dict(value.split("=", 1) for value in values)
    build = yaml.safe_load((VERTEX / "cloudbuild.yaml").read_text())
    assert set(re.findall(r"\$(_\w+)", json.dumps(build))) == set(given)
    assert given["_DEVICE"] == "gpu"
    assert re.fullmatch(rf"{REPOSITORY}/word2vec-trainer:0[0-9.]+-\w+(-\w+)?-\d{{8}}-\d{{6}}", given["_IMAGE"])
    assert given["_IMAGE"] in result.stdout.split("Next:")[1]


def test_the_image_is_built_and_pushed_by_docker(programs):
    environment, calls = programs
    args = ("--repository", REPOSITORY, "--tag", "a-tag", "--cpu", "--docker")
    dry = script("build_image.sh", *args, "--dry_run", **environment)
    assert dry.returncode == 0 and not calls()
    result = script("build_image.sh", *args, **environment)
    build, push = calls()
    assert build[:2] == ["docker", "build"] and build[-1] == "."
    assert {"--build-arg=DEVICE=cpu", f"--tag={REPOSITORY}/word2vec-trainer:a-tag"} < set(build)
    assert push == ["docker", "push", f"{REPOSITORY}/word2vec-trainer:a-tag"]
    assert result.stdout == dry.stdout
    shown = [shlex.split(line[2:]) for line in dry.stdout.splitlines() if line.startswith("$ ")]
    assert shown == [build, push]

    assert script("build_image.sh", *args, EXIT_CODE="3", **environment).returncode == 3
    assert len(calls()) == 3  # an image that could not be built is not pushed


@pytest.mark.parametrize(
    "args, named",
    [
        (["--project", "p"], "--repository is missing"),
        (["--repository", "Not A Repository", "--project", "p"], "--repository Not A Repository"),
        (["--repository", REPOSITORY], "--project is missing"),
        (["--repository", REPOSITORY, "--docker", "--tag", "latest"], "--tag latest"),
        (["--repository", REPOSITORY, "--docker", "--tag", "a b"], "--tag a b"),
        (["--repository", "--docker"], "--repository has no value"),
        (["--gpu"], "--gpu"),
    ],
)
def test_build_image_refuses(programs, args, named):
    environment, calls = programs
    result = script("build_image.sh", *args, **environment)
    assert result.returncode == 2
    assert named in result.stderr and result.stderr.count("\n") == 1
    assert not calls() and not result.stdout


@pytest.mark.parametrize("args, expected", [((), True), (("--cpu",), False)])
def test_the_container_on_one_machine_uses_its_gpus(programs, args, expected):
    """Several processes need more shared memory than Docker gives a container."""
    environment, _ = programs
    result = script("build_image.sh", "--repository", REPOSITORY, "--docker", *args, "--dry_run", **environment)
    assert result.returncode == 0, result.stderr
    (command,) = re.findall(r"docker run .*\n.*", result.stdout)
    for words in ("--gpus all", "--shm-size=", "--devices all"):
        assert (words in command) == expected


@pytest.mark.parametrize("name", ["vertex/run.sh", "common.sh"])
def test_help_names_every_flag(name):
    """The flags of build_image.sh are read in common.sh."""
    result = script("run.sh" if name == "vertex/run.sh" else "build_image.sh", "--help")
    assert result.returncode == 0
    known = set(re.findall(r"(--[a-z_]+)(?= \||\)|=\*\))", (ROOT / "deploy" / name).read_text())) - {"--help"}
    known -= {"--overwrite", "--resume", "--devices", "--wait_minutes"}  # flags of the trainer
    assert known and known <= set(re.findall(r"--[a-z_]+", result.stdout))


def test_the_dockerfile_names_what_is_there():
    found = instructions(VERTEX / "Dockerfile")
    copied = [word for name, words in found if name == "COPY" for word in words.split()[:-1]]
    assert copied and all((ROOT / path).exists() for path in copied)
    assert "pipeline" not in copied

    defaults = dict(words.split("=") for name, words in found if name == "ARG")
    for device in (defaults["DEVICE"], "cpu"):
        assert f"deploy/vertex/requirements-{device}.txt" in copied
    arguments = re.findall(r"--build-arg=(\w+)=", (VERTEX / "cloudbuild.yaml").read_text())
    assert arguments and set(arguments) <= set(defaults)

    names = [name for name, _ in found]
    assert dict(found)["USER"] != "root" and names.index("USER") < names.index("ENTRYPOINT")
    assert json.loads(dict(found)["ENTRYPOINT"]) == ["python", "-m", "trainer.task"]
