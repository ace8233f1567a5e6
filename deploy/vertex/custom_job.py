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
        machine |= {"acceleratorType": given["accelerator"], "acceleratorCount": 1}
    job: dict[str, Any] = {
        "workerPoolSpecs": [
            {
                "machineSpec": machine,
                "replicaCount": 1,
                "diskSpec": {"bootDiskSizeGb": int(given["disk_gb"])},
                "containerSpec": {"imageUri": given["image"], "args": trainer_flags},
            }
        ],
        "scheduling": {
            "timeout": f"{int(given['timeout_hours']) * 3600}s",
            # If Vertex AI takes the machine away, it starts the container on another, and --resume goes on there.
            "restartJobOnWorkerRestart": True,
            "strategy": given["strategy"],
        },
    }
    if given["service_account"]:
        job["serviceAccount"] = given["service_account"]
    return job


if __name__ == "__main__":
    print(dumps(custom_job(*read_words(sys.argv[1:]))))
