"""The scripts that hand a model to TensorFlow Serving and to Vertex AI, with a gcloud that only notes its arguments."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.deploy.test_values import ODD, words

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVING_IMAGE = "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
UPLOAD = ("--project", "p", "--region", "r", "--model", "gs://b/model/")


@pytest.fixture
def gcloud(tmp_path):
    """The environment in which a script finds a gcloud, and a function that returns its calls.

    An object is missing if MISSING is in its name.
    """
    program = tmp_path / "bin" / "gcloud"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\0" "$@" >>{tmp_path}/log; printf "\\n" >>{tmp_path}/log\n'
        'case "$*" in "storage ls"*"$MISSING"*) exit 1;; *upload*) echo projects/1/locations/r/models/77;; esac\n'
    )
    program.chmod(0o755)

    def calls():
        log = tmp_path / "log"
        return [line.rstrip("\0").split("\0") for line in log.read_text().splitlines()] if log.exists() else []

    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "MISSING": "no such object"}, calls


@pytest.fixture
def model(tmp_path):
    """What the scripts look for in a model directory. The folder has an odd name."""
    folder = tmp_path / f"-{ODD}"
    (folder / "saved_model" / "variables").mkdir(parents=True)
    for name in ("metrics.json", "saved_model/saved_model.pb", "saved_model/variables/variables.index"):
        (folder / name).write_text(name)
    return folder


def run(script, *args, cwd=None, **environment):
    return subprocess.run(
        [DEPLOY / script, *args], capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}
    )


def contents(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_versions_stand_beside_each_other(model, tmp_path):
    base = tmp_path / "served"
    for number in ("7", "8"):
        (model / "saved_model" / "saved_model.pb").write_text(f"model {number}")
        result = run("serving/add_version.sh", "--model", model.name, "--to", base, "--number", number, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert f"version     {base}/{number}\n" in result.stdout
    assert sorted(path.name for path in base.iterdir()) == ["7", "8"]
    assert contents(base) == {
        f"{number}/{name}": text
        for number in ("7", "8")
        for name, text in {**contents(model / "saved_model"), "saved_model.pb": f"model {number}"}.items()
    }


def test_without_a_number_a_version_has_the_time(model, tmp_path):
    base = tmp_path / "served"
    assert run("serving/add_version.sh", f"--model={model}", f"--to={base}").returncode == 0
    (version,) = base.iterdir()
    assert version.name.isdecimal() and len(version.name) == 14 and version.name.startswith("20")


def test_a_version_in_the_cloud_gets_the_graph_last(gcloud):
    """A server cannot load a version that has none yet."""
    environment, calls = gcloud
    environment["MISSING"] = "gs://b/served/5/"
    args = ("--model", "gs://b/model", "--to", "gs://b/served/", "--number", "5")
    result = run("serving/add_version.sh", *args, **environment)
    assert result.returncode == 0, result.stderr
    *looks, copy, last = calls()
    assert [call[:2] for call in looks] == [["storage", "ls"]] * 3
    assert copy[:2] == ["storage", "rsync"] and copy[-2:] == ["gs://b/model/saved_model", "gs://b/served/5"]
    assert "--exclude=^saved_model[.]pb$" in copy
    assert last == ["storage", "cp", "gs://b/model/saved_model/saved_model.pb", "gs://b/served/5/saved_model.pb"]

    dry = run("serving/add_version.sh", *args, "--dry_run", PATH=os.environ["PATH"])
    assert dry.stdout == result.stdout


def test_a_version_that_could_not_be_copied_is_not_there(model, tmp_path, gcloud):
    program = Path(gcloud[0]["PATH"].split(":")[0]) / "cp"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    result = run("serving/add_version.sh", "--model", model, "--to", tmp_path / "served", **gcloud[0])
    assert result.returncode == 1
    assert list((tmp_path / "served").iterdir()) == []


@pytest.mark.parametrize(
    "args, named",
    [
        ([], "--model is missing"),
        (["--model", "MODEL"], "--to is missing"),
        (["--model", "MODEL", "--to", "s3://b/served"], "--to s3://b/served: expected a folder"),
        (["--model", "gs://b", "--to", "served"], "--model gs://b: expected"),
        (["--model", "nothing", "--to", "served"], "metrics.json is missing there"),
        (["--model", "MODEL", "--to", "served", "--number", "01"], "--number 01: expected a whole number"),
        (["--model", "MODEL", "--to", "served", "--number", "v2"], "--number v2: expected"),
        (["--model", "MODEL", "--to", "served", "--number", "3"], "served/3 is there already"),
        (["--model", "--to", "served"], "--model has no value"),
        (["--version", "3"], "unknown argument --version"),
    ],
)
def test_add_version_refuses(model, tmp_path, args, named):
    (tmp_path / "served" / "3").mkdir(parents=True)
    args = [f"./{model.name}" if arg == "MODEL" else arg for arg in args]
    result = run("serving/add_version.sh", *args, cwd=tmp_path)
    assert result.returncode == 2 and not result.stdout
    assert named in result.stderr and result.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["3"]


def test_what_the_scripts_print_can_be_pasted(model, tmp_path):
    base = tmp_path / ODD
    result = run("serving/add_version.sh", "--model", model, "--to", base, "--number", "1")
    server = result.stdout.partition("Next:\n")[2].splitlines()[0]
    assert words(server)[-1] == f"--model_base_path={base}"


def test_a_model_is_registered_with_vertex_ais_own_container(gcloud):
    environment, calls = gcloud
    result = run("vertex/upload_model.sh", *UPLOAD, **environment)
    assert result.returncode == 0, result.stderr
    *looks, upload = calls()
    assert [call[2] for call in looks] == ["gs://b/model/metrics.json", "gs://b/model/saved_model/saved_model.pb"]
    assert upload[:3] == ["ai", "models", "upload"]
    # The folder of the artifact is the one in which saved_model.pb lies.
    assert {
        "--project=p", "--region=r", "--display-name=word2vec", "--artifact-uri=gs://b/model/saved_model",
        f"--container-image-uri={SERVING_IMAGE}",
    } < set(upload)  # fmt: skip
    assert not [word for word in upload if word.startswith("--parent-model")]
    assert "model       projects/1/locations/r/models/77" in result.stdout and "--model=77" in result.stdout


def test_a_new_version_answers_at_the_endpoint(gcloud):
    environment, calls = gcloud
    more = ("--name", "items", "--parent_model", "5", "--endpoint", "12", "--machine_type", "n2-standard-4")
    more += ("--replicas", "2", "--serving_image", "registry.example/tf:1", "--service_account", "a@p.example")
    result = run("vertex/upload_model.sh", *UPLOAD, *more, **environment)
    assert result.returncode == 0, result.stderr
    upload, deploy = calls()[-2:]
    assert {"--parent-model=projects/p/locations/r/models/5", "--container-image-uri=registry.example/tf:1"} < set(
        upload
    )
    assert deploy == [
        *("ai", "endpoints", "deploy-model", "12", "--project=p", "--region=r", "--model=77", "--display-name=items"),
        *("--machine-type=n2-standard-4", "--min-replica-count=2", "--max-replica-count=2", "--traffic-split=0=100"),
        "--service-account=a@p.example",
    ]
    dry = run("vertex/upload_model.sh", *UPLOAD, *more, "--dry_run")
    shown = [shlex.split(line[2:])[1:] for line in dry.stdout.splitlines() if line.startswith("$ ")]
    assert shown == [upload, [word.replace("--model=77", "--model=MODEL") for word in deploy]]


@pytest.mark.parametrize(
    "changes, named",
    [
        (["--model", "model"], "--model model: expected gs://"),
        (["--model", "gs://b"], "--model gs://b: expected gs://"),
        (["--endpoint", "projects/1"], "--endpoint projects/1: expected its number"),
        (["--replicas", "0"], "--replicas 0: expected"),
        (["--service_account", "a@p.example"], "--service_account a@p.example: expected --endpoint with it"),
        (["--project", ""], "--project has no value"),
        (["--traffic", "1"], "unknown argument --traffic"),
    ],
)
def test_upload_model_refuses(gcloud, changes, named):
    environment, calls = gcloud
    result = run("vertex/upload_model.sh", *UPLOAD, *changes, **environment)
    assert result.returncode == 2 and not result.stdout
    assert named in result.stderr and result.stderr.count("\n") == 1 and not calls()


def test_a_model_that_is_not_complete_is_not_registered(gcloud):
    environment, calls = gcloud
    environment["MISSING"] = "metrics.json"
    result = run("vertex/upload_model.sh", *UPLOAD, **environment)
    assert result.returncode == 2 and "metrics.json is missing there" in result.stderr
    assert len(calls()) == 1


@pytest.mark.parametrize("script", ["serving/add_version.sh", "vertex/upload_model.sh"])
def test_help_names_every_flag(script):
    result = run(script, "--help")
    text = (DEPLOY / script).read_text().partition("while ((")[2].partition("esac")[0]
    known = {word.strip(" |)\\") for line in text.splitlines() for word in line.split() if word.startswith("--")}
    known -= {"--help"}
    assert result.returncode == 0 and "--dry_run" in known
    assert all(flag in result.stdout for flag in known if flag.replace("_", "").strip("-").isalpha())


def test_the_container_is_named_once():
    """The script and the pipeline of Vertex AI take it from one place."""
    assert SERVING_IMAGE in (DEPLOY / "common.py").read_text()
    for name in ("upload_model.sh", "pipeline.py"):
        text = (DEPLOY / "vertex" / name).read_text()
        assert "SERVING_IMAGE" in text and "tf2-cpu" not in text
