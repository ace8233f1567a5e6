"""Tests that the scripts of deploy/flink report a mistake in one line, before they fetch or start anything."""

import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline import options

FLINK = Path(__file__).parents[2] / "deploy" / "flink"
IMAGE = "registry.example/word2vec-beam:0.1.0-0123456789ab"
CLOUD = ["--input", "gs://b/*.txt", "--output", "gs://b/dataset"]


def run(script: str, *args) -> subprocess.CompletedProcess:
    return subprocess.run([FLINK / script, *map(str, args)], capture_output=True, text=True)


@pytest.mark.parametrize(
    "script, args, named",
    [
        ("fetch.sh", ["--flnk_version", "1.19.3"], "--flnk_version"),
        ("fetch.sh", ["--flink_version", "1.19"], "--flink_version 1.19:"),
        ("fetch.sh", ["--beam_version=latest"], "--beam_version latest:"),
        ("fetch.sh", ["--to"], "--to has no value"),
        ("cluster.sh", [], "expected start, run, status or stop"),
        ("cluster.sh", ["begin"], "begin: expected start"),
        ("cluster.sh", ["start"], "--directory is missing"),
        ("cluster.sh", ["start", "--directory", "x", "--slot", "2"], "--slot"),
        ("cluster.sh", ["start", "--directory", "x", "--slots", "0"], "--slots 0:"),
        ("cluster.sh", ["start", "--directory", "x", "--task_managers=two"], "--task_managers two:"),
        ("cluster.sh", ["start", "--directory", "x", "--port", "123456"], "--port 123456:"),
        ("cluster.sh", ["start", "--directory", "x", "--memory", "1"], "--memory 1:"),
        ("cluster.sh", ["start", "--directory", "x", "--flink_home", "/nowhere"], "--flink_home /nowhere"),
        ("cluster.sh", ["stop", "--directory", "x", "--slots", "2"], "--slots: expected with start"),
        ("cluster.sh", ["status", "--directory", "/nowhere"], "--directory /nowhere holds no cluster"),
        ("cluster.sh", ["run", "--directory", "/nowhere", "--passes", "2"], "--directory /nowhere holds no cluster"),
        ("kubernetes.sh", CLOUD, "--image is missing"),
        ("kubernetes.sh", ["--image", "registry.example/word2vec-beam:latest", *CLOUD], "latest"),
        ("kubernetes.sh", ["--image", "word2vec-beam", *CLOUD], "--image word2vec-beam:"),
        ("kubernetes.sh", ["--image", IMAGE, "--input", "gs://b/*.txt"], "--output is missing"),
        ("kubernetes.sh", ["--image", IMAGE, "--output", "gs://b/dataset"], "--input is missing"),
        ("kubernetes.sh", ["--image", IMAGE, "--input", "*.txt", "--output", "gs://b/d"], "--input *.txt:"),
        ("kubernetes.sh", ["--image", IMAGE, "--input", "gs://b/*", "--output=/data/d"], "--output /data/d:"),
        ("kubernetes.sh", ["--image", IMAGE, *CLOUD, "--name", "Word2Vec"], "--name Word2Vec:"),
        ("kubernetes.sh", ["--image", IMAGE, *CLOUD, "--runner=DirectRunner"], "--runner"),
        ("kubernetes.sh", ["--image", IMAGE, *CLOUD, "--flink_image", "flink:2.2.0"], "--flink_image flink:2.2.0:"),
    ],
)
def test_refused(script, args, named):
    result = run(script, *args)
    assert result.returncode == 2
    assert named in result.stderr and result.stderr.count("\n") == 1
    assert not result.stdout


def test_port_is_taken(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "flink-dist-1.jar").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        args = ["--flink_home", tmp_path, "--job_server_jar", tmp_path / "lib" / "flink-dist-1.jar", "--port", port]
        result = run("cluster.sh", "start", "--directory", tmp_path / "cluster", *args)
    assert result.returncode == 1
    if "java is not on the PATH" not in result.stderr:
        assert result.stderr.startswith(f"cluster.sh: --port {port} is not free at 127.0.0.1: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("script", ["fetch.sh", "cluster.sh", "kubernetes.sh"])
def test_help(script):
    result = run(script, "--help")
    assert result.returncode == 0
    assert script in result.stdout and not result.stderr


def test_kubernetes_manifest():
    flags = ["--task_managers", 3, "--slots", 4, "--name", "vectors", "--namespace", "texts"]
    data = ["--input", "/data/a b.txt", '/data/"c".txt', "--output=/data/dataset", "--volume_claim", "claim"]
    result = run("kubernetes.sh", "--image", IMAGE, *flags, *data, "--min_count", 10)
    assert result.returncode == 0, result.stderr
    cluster, job = yaml.safe_load_all(result.stdout)

    assert cluster["kind"] == "FlinkDeployment" and job["kind"] == "Job"
    assert cluster["metadata"] == {"name": "vectors", "namespace": "texts"}
    spec = cluster["spec"]
    assert spec["taskManager"]["replicas"] == 3
    assert spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"] == "4"
    assert spec["image"].removeprefix("flink:").startswith(spec["flinkVersion"].removeprefix("v").replace("_", "."))
    workers = spec["taskManager"]["podTemplate"]["spec"]["containers"][1]
    (launcher,) = job["spec"]["template"]["spec"]["containers"]
    assert workers["image"] == launcher["image"] == IMAGE
    for pod in (spec["podTemplate"], job["spec"]["template"]):
        assert pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "claim"}
    for container in (spec["podTemplate"]["spec"]["containers"][0], workers, launcher):
        assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]

    # The pipeline's own parser reads the job's flags: those of the pipeline and those of Beam.
    arguments = options.parse(launcher["args"])
    assert arguments.config.input == ("/data/a b.txt", '/data/"c".txt')
    assert arguments.config.output == "/data/dataset" and arguments.config.min_count == 10
    assert "--flink_master=vectors-rest:8081" in arguments.beam_flags
    assert "--parallelism=12" in arguments.beam_flags
    assert f"--environment_config=localhost:{workers['ports'][0]['containerPort']}" in arguments.beam_flags


def test_one_flink_version():
    (fetched,) = [
        line.split()[-1] for line in (FLINK / "fetch.sh").read_text().splitlines() if "flink_version V " in line
    ]
    spec = next(yaml.safe_load_all(run("kubernetes.sh", "--image", IMAGE, *CLOUD).stdout))["spec"]
    assert spec["image"].startswith(f"flink:{fetched}-")
