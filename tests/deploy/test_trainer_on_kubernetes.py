"""Tests the trainer's job for Kubernetes, without Kubernetes: its structure, and what is refused."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.dockerfile import instructions
from trainer import task
from trainer.cluster import Process, process_of

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "kubernetes" / "trainer.sh"
IMAGE = "registry.example/word2vec-trainer:0.1.0-0123456789ab"
JOB = ["--image", IMAGE, "--data", "gs://b/dataset", "--output", "gs://b/model"]


def run(*args, **environment) -> subprocess.CompletedProcess:
    return subprocess.run(
        [SCRIPT, *map(str, args)], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )


def manifests(*args) -> dict[str, dict]:
    """Returns the manifests by their kind."""
    result = run(*args)
    assert result.returncode == 0, result.stderr
    documents = list(yaml.safe_load_all(result.stdout))
    assert documents == [json.loads(text) for text in result.stdout.split("---\n")[1:]]
    return {document["kind"]: document for document in documents}


def parts(job: dict) -> tuple[dict, dict, dict]:
    """The specification of a job, that of its pods, and their only container."""
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return job["spec"], pod, container


def test_one_machine_needs_only_a_job():
    (job,) = manifests(*JOB).values()
    spec, pod, container = parts(job)
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert spec["completions"] == spec["parallelism"] == 1
    assert container["image"] == IMAGE and "command" not in container  # so the image's own command runs
    assert container["args"] == ["--data", "gs://b/dataset", "--output", "gs://b/model", "--resume"]
    assert container["resources"]["limits"] == {"memory": "16Gi", "nvidia.com/gpu": 1}
    assert not {"subdomain", "volumes", "serviceAccountName", "nodeSelector"} & set(pod)


def test_several_machines_find_each_other():
    found = manifests(*JOB, "--machines", 3, "--gpus", 4, "--name", "vectors", "--namespace", "texts")
    service, policy, job = (found.pop(kind) for kind in ("Service", "NetworkPolicy", "Job"))
    assert not found
    spec, pod, container = parts(job)

    # Kubernetes gives a pod of an Indexed Job the host name JOB-INDEX.SUBDOMAIN if a headless service of that name
    # selects it.
    labels = spec["template"]["metadata"]["labels"]
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["selector"].items() <= labels.items()
    assert service["spec"]["publishNotReadyAddresses"] is True  # a pod has its host name while others still start
    assert service["metadata"] == policy["metadata"] == {"name": "vectors", "namespace": "texts"}
    assert job["metadata"]["namespace"] == "texts"
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert pod["subdomain"] == "vectors"
    name = job["metadata"]["name"]
    hosts = tuple(f"{name}-{index}.vectors:2222" for index in range(3))
    for index in range(3):
        assert process_of(environment_of(container, index)) == Process(index, hosts)

    # Each of the four processes of a pod has a port, and only the pods of the job may connect to each other.
    assert [port["containerPort"] for port in container["ports"]] == [2222, 2223, 2224, 2225]
    pods = {"podSelector": {"matchLabels": labels}}
    assert policy["spec"] == {**pods, "policyTypes": ["Ingress"], "ingress": [{"from": [pods]}]}


def environment_of(container: dict, index: int) -> dict[str, str]:
    """The environment of the container in the pod with an index, as Kubernetes makes it.

    Kubernetes goes through the variables in their order. It replaces $(NAME) in a value by a variable that it has set.
    """
    annotations = {"batch.kubernetes.io/job-completion-index": str(index)}
    environment: dict[str, str] = {}
    for variable in container["env"]:
        if "value" in variable:
            value = re.sub(r"\$\((\w+)\)", lambda found: environment.get(found[1], found[0]), variable["value"])
        else:
            (annotation,) = re.findall(
                r"^metadata\.annotations\['(.*)'\]$", variable["valueFrom"]["fieldRef"]["fieldPath"]
            )
            value = annotations[annotation]
        environment[variable["name"]] = value
    return environment


@pytest.mark.parametrize(
    "machines, flags, minutes",
    [(1, [], 1), (2, [], 60), (999, [], 60), (2, ["--wait_minutes", "5"], 5), (2, ["--wait_minutes=5"], 5)],
)
def test_pods_wait_for_each_other(machines, flags, minutes):
    """Kubernetes may first have to add machines to the cluster, and to download the image on each."""
    job = manifests(*JOB, "--machines", machines, "--", "--embedding_dim", "1000", *flags)["Job"]
    _, _, container = parts(job)
    assert "command" not in container  # the image starts the trainer itself, so that it gets the signals
    assert " ".join(container["args"]).count("--wait_minutes") == (machines > 1)
    assert task.parse(container["args"]).wait_minutes == minutes


@pytest.mark.parametrize("gpus, devices", [(0, []), (1, []), (4, ["--devices", "4"])])
def test_the_trainer_uses_all_gpus_of_its_pod(gpus, devices):
    result = run(*JOB, "--gpus", gpus)
    assert result.returncode == 0, result.stderr
    _, pod, container = parts(yaml.safe_load(result.stdout))
    assert container["args"][4:-1] == devices
    assert container["resources"]["limits"].get("nvidia.com/gpu", 0) == gpus
    shared = [volume for volume in pod.get("volumes", []) if volume.get("emptyDir", {}).get("medium") == "Memory"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container.get("volumeMounts", [])}
    assert [mounts[volume["name"]] for volume in shared] == (["/dev/shm"] if gpus > 1 else [])


def test_the_pods_have_what_was_asked_for():
    asked = ["--cpus", 8, "--memory", "64Gi", "--service_account", "trainer", "--timeout_hours", 48]
    selector = ["--node_selector", "cloud.google.com/gke-accelerator=nvidia-l4,disk=fast"]
    job = manifests(*JOB, *asked, *selector)["Job"]
    spec, pod, container = parts(job)
    assert container["resources"]["requests"] == {"cpu": "8", "memory": "64Gi"}
    assert container["resources"]["limits"]["memory"] == "64Gi"
    assert pod["serviceAccountName"] == "trainer"
    assert pod["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-l4", "disk": "fast"}
    assert spec["activeDeadlineSeconds"] == 48 * 3600


def test_the_pods_do_not_run_as_root():
    """Kubernetes needs the user's number. It must be that of the user in the image."""
    _, pod, container = parts(manifests(*JOB, "--volume_claim", "claim")["Job"])
    user = container["securityContext"]["runAsUser"]
    (made,) = (
        words
        for name, words in instructions(ROOT / "deploy" / "vertex" / "Dockerfile")
        if name == "RUN" and words.startswith("useradd")
    )
    assert f"--uid {user} " in made and user != 0
    assert container["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["securityContext"] == {"fsGroup": user}


def test_a_volume_is_mounted_at_data():
    paths = ["--image", IMAGE, "--data", "/data/my dataset", "--output", "/data/model", "--volume_claim", "claim"]
    _, pod, container = parts(manifests(*paths)["Job"])
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]
    assert mount == {"name": volume["name"], "mountPath": "/data"}
    assert volume["persistentVolumeClaim"] == {"claimName": "claim"}
    assert task.parse(container["args"]).data == "/data/my dataset"


@pytest.mark.parametrize("machines, restarts, limit", [(1, 3, 3), (4, 3, 12), (4, 0, 0)])
def test_a_failure_starts_all_pods_again(machines, restarts, limit):
    """Each pod fails by itself when another one does, and each failure counts."""
    job = manifests(*JOB, "--machines", machines, "--restarts", restarts)["Job"]
    spec, pod, container = parts(job)
    assert pod["restartPolicy"] == "Never" and spec["backoffLimit"] == limit
    evicted, mistake = spec["podFailurePolicy"]["rules"]
    assert evicted["action"] == "Ignore" and evicted["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert mistake["action"] == "FailJob"
    assert mistake["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [2]}
    assert spec["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    assert container["args"][-1] == "--resume"


@pytest.mark.parametrize(
    "flags, expected",
    [
        (["--epochs", "3"], ["--epochs", "3", "--resume"]),
        (["--resume"], ["--resume"]),
        (["--overwrite"], ["--overwrite"]),
    ],
)
def test_flags_of_the_trainer_come_after_the_hyphens(flags, expected):
    _, _, container = parts(manifests(*JOB, "--", *flags)["Job"])
    assert container["args"][4:] == expected


def test_names_of_pods_are_short_enough():
    """A pod whose host name would have more than 63 letters has another one, and is not found."""
    name = "a" * 43
    job = manifests(*JOB, "--name", name, "--machines", 999, "--", "--embedding_dim", 999)["Job"]
    _, _, container = parts(job)
    addresses = process_of(environment_of(container, 0)).addresses
    assert max(len(address.partition(".")[0]) for address in addresses) == 63
    assert run(*JOB, "--name", f"{name}a").returncode == 2


@pytest.mark.parametrize(
    "args, named",
    [
        (JOB[2:], "--image is missing"),
        ([*JOB, "--image", "word2vec-trainer"], "--image word2vec-trainer:"),
        ([*JOB, "--image", "registry.example/word2vec-trainer:latest"], "latest"),
        (JOB[:2], "--data is missing"),
        (JOB[:4], "--output is missing"),
        ([*JOB, "--data", "dataset"], "--data dataset: expected"),
        ([*JOB, "--output", "gs://b"], "--output gs://b: expected"),
        ([*JOB, "--output", "/data/model"], "--output /data/model: expected"),
        ([*JOB, "--output", "/model", "--volume_claim", "claim"], "--output /model: expected"),
        ([*JOB, "--machines", "0"], "--machines 0: expected"),
        ([*JOB, "--machines=two"], "--machines two: expected"),
        ([*JOB, "--gpus", "-1"], "--gpus -1: expected"),
        ([*JOB, "--gpus", "17"], "--gpus 17: expected"),
        ([*JOB, "--cpus", "1.5"], "--cpus 1.5: expected"),
        ([*JOB, "--memory", "16G"], "--memory 16G: expected"),
        ([*JOB, "--restarts", "-1"], "--restarts -1: expected"),
        ([*JOB, "--timeout_hours", "1h"], "--timeout_hours 1h: expected"),
        ([*JOB, "--name", "Word2Vec"], "--name Word2Vec: expected"),
        ([*JOB, "--name", "2vec"], "--name 2vec: expected"),
        ([*JOB, "--namespace", "a_b"], "--namespace a_b: expected"),
        ([*JOB, "--node_selector", "gpu"], "--node_selector gpu: expected"),
        ([*JOB, "--node_selector", "a=b,"], "--node_selector a=b,: expected"),
        ([*JOB, "--node_selector"], "--node_selector has no value"),
        ([*JOB, "--epochs", "3"], "unknown argument --epochs"),
        ([*JOB, "--", "--epcohs", "3"], "--epcohs"),
        ([*JOB, "--", "--embedding_dim", "0"], "--embedding_dim 0"),
        ([*JOB, "--", "--devices", "2"], "--devices: the script sets the flag itself"),
        ([*JOB, "--", "--devices=2"], "--devices=2: the script sets the flag itself"),
        ([*JOB, "--", "--output", "gs://b/other"], "--output: expected it before --"),
        ([*JOB, "--machines", "33", "--gpus", "4"], "--devices 4 makes 132 processes"),
        ([*JOB, "--machines", "129", "--gpus", "0"], "--devices 1 makes 129 processes"),
    ],
)
def test_refused(args, named):
    result = run(*args)
    assert result.returncode == 2 and not result.stdout
    assert named in result.stderr and result.stderr.count("\n") == 1
    assert result.stderr.startswith("trainer.sh: ")


def test_the_environment_of_the_submitting_machine_does_not_count():
    """On the cluster, the job has another one."""
    assert run(*JOB, TF_CONFIG="{", AIP_MODEL_DIR="gs://b/other", AIP_CHECKPOINT_DIR="").returncode == 0


def test_help_names_every_flag():
    result = run("--help")
    assert result.returncode == 0 and not result.stderr
    known = set(re.findall(r"(--[a-z_]+)(?= \||\)|=\*\))", SCRIPT.read_text())) - {"--help"}
    known -= {"--overwrite", "--resume", "--devices"}  # flags of the trainer
    assert len(known) > 10 and known <= set(re.findall(r"--[a-z_]+", result.stdout))
