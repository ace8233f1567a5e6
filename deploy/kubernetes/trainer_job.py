"""Prints the manifests for trainer.sh: a job whose pods train together, and what they need to find each other."""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import NO_ROOT, QUIET, data_volume, dumps, literal, metadata, read_words  # noqa: E402

PORT = 2222  # the first process of a pod listens at this port, the next one at 2223, and so on
# This environment variable holds the pod's index, which Kubernetes writes into an annotation of the pod.
INDEX = {
    "name": "JOB_COMPLETION_INDEX",
    "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}},
}


def manifests(given: dict[str, str], flags: list[str]) -> list[dict[str, Any]]:
    """What the job consists of. The values are the flags of trainer.sh, and `flags` are those of the trainer."""
    if given["machines"] == "1":
        return [_job(given, flags)]
    return [_service(given), _network_policy(given), _job(given, flags)]


def _labels(given: dict[str, str]) -> dict[str, str]:
    return {"app.kubernetes.io/name": "word2vec-trainer", "app.kubernetes.io/instance": given["name"]}


def _service(given: dict[str, str]) -> dict[str, Any]:
    """A service without an address of its own: it only gives each pod a host name."""
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": _labels(given)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(given, given["name"]), "spec": spec}


def _network_policy(given: dict[str, str]) -> dict[str, Any]:
    """A rule that lets only the pods of this job connect to each other.

    TensorFlow's servers do what anyone who reaches their ports asks of them.
    """
    pods = {"podSelector": {"matchLabels": _labels(given)}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(given, given["name"]),
        "spec": {**pods, "policyTypes": ["Ingress"], "ingress": [{"from": [pods]}]},
    }


def _tf_config(hosts: list[str]) -> str:
    """The value of TF_CONFIG for all pods. Kubernetes replaces $(NAME) by a variable that stands before this one."""
    cluster = json.dumps({"worker": hosts})
    return f'{{"cluster": {cluster}, "task": {{"type": "worker", "index": $({INDEX["name"]})}}}}'


def _job(given: dict[str, str], flags: list[str]) -> dict[str, Any]:
    """The job. Its pods differ in their index only."""
    name = f"{given['name']}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    machines, gpus = int(given["machines"]), int(given["gpus"])
    mounts, volumes = data_volume(given["volume_claim"])
    if gpus > 1:
        # The processes of a pod exchange data through shared memory, of which a container has only 64 MB.
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}})
    limits = {"memory": given["memory"]} | ({"nvidia.com/gpu": gpus} if gpus else {})
    trainer: dict[str, Any] = {
        "name": "trainer",
        "image": given["image"],
        "args": [literal(flag) for flag in flags],
        "env": [QUIET],
        "resources": {"requests": {"cpu": given["cpus"], "memory": given["memory"]}, "limits": limits},
        "securityContext": NO_ROOT,
    }
    pod: dict[str, Any] = {"restartPolicy": "Never", "containers": [trainer]}
    if machines > 1:
        # A pod's host name is the job's name and the pod's index.
        hosts = [f"{name}-{index}.{given['name']}:{PORT}" for index in range(machines)]
        trainer["env"] = [QUIET, INDEX, {"name": "TF_CONFIG", "value": _tf_config(hosts)}]
        trainer["ports"] = [{"containerPort": PORT + each} for each in range(max(gpus, 1))]
        pod["subdomain"] = given["name"]  # the service, whose name ends the pods' host names
    if volumes:
        trainer["volumeMounts"] = mounts
        pod["volumes"] = volumes
    if given["volume_claim"]:
        pod["securityContext"] = {"fsGroup": NO_ROOT["runAsUser"]}  # so that the user may write to the volume
    if given["service_account"]:
        pod["serviceAccountName"] = given["service_account"]
    if given["node_selector"]:
        pod["nodeSelector"] = dict(label.split("=") for label in given["node_selector"].split(","))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(given, name) | {"labels": _labels(given)},
        "spec": {
            "completionMode": "Indexed",
            "completions": machines,
            "parallelism": machines,
            "activeDeadlineSeconds": int(given["timeout_hours"]) * 3600,
            # One failure ends the trainers of all pods, and Kubernetes counts each pod that fails.
            "backoffLimit": int(given["restarts"]) * machines,
            "podFailurePolicy": {
                "rules": [
                    # A pod whose machine was taken away is not counted.
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    # The exit code 2 means a user's mistake, which another start would only repeat.
                    {"action": "FailJob", "onExitCodes": {"containerName": "trainer", "operator": "In", "values": [2]}},
                ]
            },
            # The model is complete once the chief has ended well, whatever becomes of the others.
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
            "template": {"metadata": {"labels": _labels(given)}, "spec": pod},
        },
    }


if __name__ == "__main__":
    for manifest in manifests(*read_words(sys.argv[1:])):
        print("---")  # the documents are YAML for a program that looks at the first line
        print(dumps(manifest))
