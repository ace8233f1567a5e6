"""Prints the description of a job for run.sh: a CustomJobSpec, as Vertex AI calls it."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import dumps, read_words  # noqa: E402


def custom_job(given: dict[str, str], trainer_flags: list[str]) -> dict[str, Any]:
    """The job. Its values are the flags of run.sh: a machine without a GPU has the accelerator "none"."""
    machine: dict[str, Any] = {"machineType": given["machine_type"]}
    if given["accelerator"] != "none":
        machine |= {"acceleratorType": given["accelerator"], "acceleratorCount": int(given["accelerator_count"])}
    pool: dict[str, Any] = {
        "machineSpec": machine,
        "replicaCount": 1,
        "diskSpec": {"bootDiskSizeGb": int(given["disk_gb"])},
        "containerSpec": {"imageUri": given["image"], "args": trainer_flags},
    }
    # Vertex AI wants the chief in a worker pool of its own, which is the first. The second has all other machines. It
    # tells each machine in TF_CONFIG who the others are, and starts its container without waiting for the others.
    others = int(given["replicas"]) - 1
    job: dict[str, Any] = {
        "workerPoolSpecs": [pool] + ([pool | {"replicaCount": others}] if others else []),
        "scheduling": {
            "timeout": f"{int(given['timeout_hours']) * 3600}s",
            # If Vertex AI takes a machine away, it starts the containers of all machines again, and --resume goes on.
            "restartJobOnWorkerRestart": True,
            "strategy": given["strategy"],
        },
    }
    for flag, field in (("service_account", "serviceAccount"), ("network", "network"), ("tensorboard", "tensorboard")):
        if given[flag]:
            job[field] = given[flag]
    if given["base_output"]:
        job["baseOutputDirectory"] = {"outputUriPrefix": given["base_output"]}
    return job


if __name__ == "__main__":
    print(dumps(custom_job(*read_words(sys.argv[1:]))))
