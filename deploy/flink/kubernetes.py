"""Prints the manifests for kubernetes.sh: a Flink cluster, and a job that submits the pipeline to it."""

import re
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import NO_ROOT, QUIET, data_volume, dumps, literal, metadata, read_words  # noqa: E402


def manifests(given: dict[str, str], flags: list[str]) -> list[dict[str, Any]]:
    """The cluster and the job. The values are the flags of kubernetes.sh, and `flags` are those of the pipeline."""
    mounts: dict[str, Any] = {}  # what each container gets
    volumes: dict[str, Any] = {}  # what each pod gets
    if given["volume_claim"]:
        of_container, of_pod = data_volume(given["volume_claim"])
        mounts = {"volumeMounts": of_container}
        # The group lets the user write to the volume.
        volumes = {"volumes": of_pod, "securityContext": {"fsGroup": NO_ROOT["runAsUser"]}}
    return [_cluster(given, mounts, volumes), _job(given, flags, mounts, volumes)]


def _cluster(given: dict[str, str], mounts: dict[str, Any], volumes: dict[str, Any]) -> dict[str, Any]:
    """The cluster. Each task manager has a pool of Beam workers beside it in the same pod."""
    version = re.search(r":1\.(19|20)", given["flink_image"])
    assert version, f"{given['flink_image']}: kubernetes.sh lets no other version pass"
    workers = {
        "name": "beam-workers",
        "image": given["image"],
        "args": ["--worker_pool"],
        "env": [QUIET],
        "ports": [{"name": "worker-pool", "containerPort": 50000}],
        "readinessProbe": {"tcpSocket": {"port": "worker-pool"}},
        "resources": {
            "requests": {"cpu": given["slots"], "memory": given["worker_memory"]},
            "limits": {"memory": given["worker_memory"]},
        },
        "securityContext": NO_ROOT,
        **mounts,
    }
    spec = {
        "image": given["flink_image"],
        "flinkVersion": f"v1_{version[1]}",
        "mode": "standalone",
        "serviceAccount": given["service_account"],
        "flinkConfiguration": {
            "taskmanager.numberOfTaskSlots": given["slots"],
            "taskmanager.memory.managed.fraction": "0.2",
            "taskmanager.memory.network.min": "128m",
            "taskmanager.network.sort-shuffle.min-buffers": "64",
            "cluster.evenly-spread-out-slots": "true",
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": "3",
            "restart-strategy.fixed-delay.delay": "15 s",
            "slot.request.timeout": "300000",
        },
        "podTemplate": {"spec": {"containers": [{"name": "flink-main-container", **mounts}], **volumes}},
        "jobManager": {"replicas": 1, "resource": {"cpu": 1, "memory": "2g"}},
        "taskManager": {
            "replicas": int(given["task_managers"]),
            "resource": {"cpu": 0.5, "memory": "2g"},
            "podTemplate": {"spec": {"containers": [{"name": "flink-main-container"}, workers]}},
        },
    }
    return {
        "apiVersion": "flink.apache.org/v1beta1",
        "kind": "FlinkDeployment",
        "metadata": metadata(given, given["name"]),
        "spec": spec,
    }


def _job(given: dict[str, str], flags: list[str], mounts: dict[str, Any], volumes: dict[str, Any]) -> dict[str, Any]:
    """The job that submits the pipeline, and ends together with it."""
    own = [
        "--runner=FlinkRunner",
        f"--flink_master={given['name']}-rest:8081",
        "--flink_submit_uber_jar",
        "--environment_type=EXTERNAL",
        "--environment_config=localhost:50000",
        f"--sdk_worker_parallelism={given['slots']}",
        f"--parallelism={int(given['task_managers']) * int(given['slots'])}",
    ]
    launcher = {
        "name": "pipeline",
        "image": given["image"],
        "command": ["python", "-m", "pipeline"],
        "args": [literal(flag) for flag in own + flags],
        "env": [QUIET],
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
        "securityContext": NO_ROOT,
        **mounts,
    }
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": given["service_account"],
        "containers": [launcher],
        **volumes,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(given, f"{given['name']}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"),
        "spec": {
            "backoffLimit": 0,  # a launcher that fails may leave its job running on Flink: submit it only once
            "template": {"spec": pod},
        },
    }


if __name__ == "__main__":
    for manifest in manifests(*read_words(sys.argv[1:])):
        print("---")  # the documents are YAML for a program that looks at the first line
        print(dumps(manifest))
