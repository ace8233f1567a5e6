"""Tests the pipeline on a real Flink: in one process, on a cluster, and on a cluster of which a part dies."""

import json
import os
import shutil
import signal
import subprocess
import time
import warnings
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.pipeline.helpers import command, contents, environment, random_text, read_manifest, write_files

ROOT = Path(__file__).parents[2]
FETCH = ROOT / "deploy" / "flink" / "fetch.sh"
CLUSTER = ROOT / "deploy" / "flink" / "cluster.sh"
# Not every mirror of Maven Central has a job server of the pinned version. This one can be assembled from its parts.
OTHER_BEAM = ["--beam_version", "2.62.0", "--assemble"]
KUBERNETES = ROOT / "deploy" / "flink" / "kubernetes.sh"
BUILD = ROOT / "build" / "flink"
NUM_SHARDS = 16
FLAGS = [
    "--num_shards",
    NUM_SHARDS,
    "--min_count",
    2,
    "--passes",
    8,
    "--phrases",
    1,
    "--phrase_min_count",
    1,
    "--holdout",
    0.05,
]


@pytest.fixture(scope="module")
def flink() -> dict[str, str]:
    """The paths where fetch.sh has put Flink and Beam's job server."""
    for tool in ("java", "mvn"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    fetched = subprocess.run([FETCH], capture_output=True, text=True)
    if fetched.returncode:
        warnings.warn(f"{fetched.stderr.splitlines()[-1]}: testing with {' '.join(OTHER_BEAM)}", stacklevel=1)
        fetched = subprocess.run([FETCH, *OTHER_BEAM], capture_output=True, text=True)
    assert fetched.returncode == 0, fetched.stderr
    return dict(line.split("=", 1) for line in fetched.stdout.splitlines())


@pytest.fixture
def start_cluster(flink, tmp_path):
    """A function that starts a cluster. The cluster ends with the test."""
    directory = tmp_path / "cluster"

    def start(*flags) -> Path:
        places = ["--flink_home", flink["flink_home"], "--job_server_jar", flink["job_server_jar"]]
        cluster("start", directory, "--port", 0, "--worker_port", 0, *places, *flags)
        return directory

    yield start
    if directory.exists():
        ids = [int(path.read_text().split()[0]) for path in (directory / "processes").iterdir()]
        cluster("stop", directory)
        assert not [number for number in ids if group_is_alive(number)]


def cluster(action: str, directory: Path, *flags) -> subprocess.CompletedProcess:
    """Runs cluster.sh, which must succeed."""
    result = run_cluster(action, directory, *flags)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr[-8000:]}"
    return result


def run_cluster(action: str, directory: Path, *flags) -> subprocess.CompletedProcess:
    args = [CLUSTER, action, "--directory", directory, *map(str, flags)]
    with open(directory.parent / f"{action}.out", "w+") as out, open(directory.parent / f"{action}.err", "w+") as err:
        # The processes that `start` leaves behind would keep pipes open, so the output goes to files.
        code = subprocess.run(args, stdout=out, stderr=err, env=environment(), timeout=900).returncode
    return subprocess.CompletedProcess(args, code, Path(out.name).read_text(), Path(err.name).read_text())


def group_is_alive(number: int) -> bool:
    """Says whether a process group has a process that is not a zombie."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    return any(row.split()[0] == str(number) and "Z" not in row.split()[1] for row in listed.splitlines())


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """Five files of text, one of them compressed."""
    files = {f"{number}.txt": random_text(number, 1_300_000, 5000) for number in range(4)}
    files["in/4.txt.gz"] = random_text(4, 400_000, 5000)
    return write_files(tmp_path_factory.mktemp("text"), files)


@pytest.fixture(scope="module")
def expected(text, tmp_path_factory) -> dict:
    """The dataset that DirectRunner makes of the text."""
    return dataset_of(direct(text, tmp_path_factory.mktemp("direct") / "dataset"))


def direct(text: Path, output: Path, *flags) -> Path:
    result = command(*inputs(text), "--output", output, *FLAGS, *flags)
    assert result.returncode == 0, result.stderr
    return output


def inputs(text: Path) -> list[str]:
    return ["--input", f"{text}/*.txt", f"{text}/*/*.gz"]


def dataset_of(output: Path) -> dict:
    """Returns what must not depend on the runner: all bytes except the output's name and the SavedModel's own ids."""
    files = contents(output)
    manifest = read_manifest(output)
    del manifest["config"]["output"], manifest["config"]["overwrite"], files["manifest.json"]
    for name in ("saved_model.pb", "fingerprint.pb"):
        assert files.pop(f"transform_fn/{name}")
    return {**files, "manifest": manifest}


def test_embedded_cluster(flink, text, expected, tmp_path):
    result = command(
        *inputs(text), "--output", tmp_path / "dataset", *FLAGS, "--runner=FlinkRunner", "--flink_master=[local]",
        f"--flink_job_server_jar={flink['job_server_jar']}", "--parallelism=2",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-8000:]
    assert dataset_of(tmp_path / "dataset") == expected


def test_standalone_cluster(start_cluster, text, expected, tmp_path):
    directory = start_cluster()
    result = cluster("run", directory, *inputs(text), "--output", tmp_path / "dataset", *FLAGS)
    assert dataset_of(tmp_path / "dataset") == expected
    assert "examples" in result.stdout and "worker-s" in result.stdout  # the counters came back
    for number in (1, 2):  # each task manager has used its own pool
        assert "Starting worker" in (directory / "log" / f"worker_pool_{number}.log").read_text()

    # A user's mistake is reported in one line, and the cluster stays up.
    result = run_cluster("run", directory, *inputs(text), "--output", tmp_path / "none", "--min_count", 10**9)
    assert result.returncode == 1
    (said,) = [line for line in result.stderr.splitlines() if line.startswith("python -m pipeline: ")]
    assert said.startswith("python -m pipeline: --min_count 1000000000 leaves no word")
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "none").iterdir())
    cluster("status", directory)


@pytest.mark.parametrize("slots", [2, 1])
def test_task_manager_is_killed(start_cluster, text, expected, tmp_path, slots):
    output = direct(text, tmp_path / "dataset", "--seed", 2)
    before = contents(output)
    directory = start_cluster("--slots", slots)
    flags = [*inputs(text), "--output", output, *FLAGS, "--overwrite", "--parallelism", 2]
    with open(tmp_path / "first.log", "w") as log:
        job = subprocess.Popen(
            [CLUSTER, "run", "--directory", directory, *map(str, flags)], stdout=log, stderr=log, env=environment()
        )
    try:
        wait_for(lambda: list(output.glob(".partial-*/skipgrams/*")) or job.poll() is not None)
        for name in ("task_manager_1", "worker_pool_1"):
            os.killpg(int((directory / "processes" / name).read_text().split()[0]), signal.SIGKILL)
        assert job.poll() is None, (tmp_path / "first.log").read_text()[-8000:]
        done = list(output.glob(".partial-*/skipgrams/*.tfrecord"))
        assert len(done) < NUM_SHARDS, "the job was over before it could be disturbed"
        assert before.items() <= contents(output).items()  # the old dataset is still complete
        code = job.wait(600)
    finally:
        job.kill()
        job.wait()

    assert "task_manager_1      ended" in run_cluster("status", directory).stdout
    if slots == 2:  # the other task manager had free slots
        assert code == 0, (tmp_path / "first.log").read_text()[-8000:]
        assert dataset_of(output) == expected
    else:
        assert code == 1
        assert contents(output) == before
        cluster("stop", directory)
        directory = start_cluster("--slots", slots)
    cluster("run", directory, *flags)
    assert dataset_of(output) == expected


def wait_for(condition, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def kubeconform(tmp_path_factory):
    """A function that validates manifests against the operator's own definition of a FlinkDeployment."""
    for tool in ("mvn", "go"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    binary = BUILD / "validate" / "kubeconform-v0.7.0" / "kubeconform"
    if not binary.exists():
        tool = "github.com/yannh/kubeconform/cmd/kubeconform@" + binary.parent.name.removeprefix("kubeconform-")
        subprocess.run(["go", "install", tool], env={**os.environ, "GOBIN": str(binary.parent)}, check=True)
    operator = BUILD / "validate" / "flink-kubernetes-operator-api-1.10.0.jar"
    if not operator.exists():
        subprocess.run(
            ["mvn", "--batch-mode", "--quiet", f"-Dmaven.repo.local={BUILD / 'maven'}",
             "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy", f"-DoutputDirectory={operator.parent}",
             "-Dartifact=org.apache.flink:flink-kubernetes-operator-api:1.10.0"], check=True
        )  # fmt: skip
    with zipfile.ZipFile(operator) as jar:
        definition = yaml.safe_load(jar.read("META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"))
    (version,) = definition["spec"]["versions"]
    deployment = strict(version["schema"]["openAPIV3Schema"])
    # The operator's pod templates are those of Kubernetes, so they validate the pod of a Job too.
    pod = deployment["properties"]["spec"]["properties"]["podTemplate"]
    spec = {"backoffLimit": {"type": "integer"}, "template": pod}
    job = strict({"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}})
    schemas = tmp_path_factory.mktemp("schemas")
    for kind, schema in {"flinkdeployment": deployment, "job": job}.items():
        for field, value in {"apiVersion": "string", "kind": "string", "metadata": "object"}.items():
            schema["properties"][field] = {"type": value}
        (schemas / f"{kind}.json").write_text(json.dumps(schema))

    def validate(manifest: str) -> subprocess.CompletedProcess:
        args = [binary, "-strict", "-summary", "-schema-location", f"{schemas}/{{{{.ResourceKind}}}}.json"]
        return subprocess.run(args, input=manifest, capture_output=True, text=True)

    return validate


def strict(schema):
    """Returns the schema in a form that refuses fields that it does not name."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: strict(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    return schema


@pytest.mark.parametrize(
    "flags",
    [
        ["--input", "gs://b/*.txt", "--output", "gs://b/dataset"],
        ["--input", "/data/*.txt", "--output", "/data/dataset", "--volume_claim", "texts", "--namespace", "n"],
    ],
)
def test_kubernetes_manifest(kubeconform, flags):
    args = [KUBERNETES, "--image", "registry.example/word2vec-beam:0.1.0-0123456789ab", *flags]
    printed = subprocess.run(args, capture_output=True, text=True, check=True).stdout
    assert kubeconform(printed).returncode == 0
    manifest = yaml.safe_dump_all(yaml.safe_load_all(printed), sort_keys=False)
    result = kubeconform(manifest)
    assert result.returncode == 0, result.stdout
    assert "Valid: 2, Invalid: 0, Errors: 0, Skipped: 0" in result.stdout
    for good, bad in {
        "replicas: 2": "replicas: two",
        "readinessProbe:": "readynessProbe:",
        "flinkVersion: v1_19": "flinkVersion: v1_9",
        "restartPolicy: Never": "restartPolicies: Never",
        "containerPort: 50000": "containerPort: many",
    }.items():
        assert good in manifest
        assert "Invalid: 1" in kubeconform(manifest.replace(good, bad)).stdout, bad
