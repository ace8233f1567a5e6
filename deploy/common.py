"""What the programs share that describe a job in JSON: kubernetes.py, trainer_job.py and custom_job.py.

JSON is YAML too, so every program that takes YAML takes it. The scripts give these programs words such as name=VALUE,
and then, after the word --, the flags of the program that the job runs.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NO_ROOT: dict[str, Any] = {
    "runAsUser": 1000,  # the users in both images: beam and trainer
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
# Vertex AI's own image with a server for a SavedModel, on machines without a GPU.
SERVING_IMAGE = "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"
QUIET = {"name": "TF_CPP_MIN_LOG_LEVEL", "value": "3"}


def read_words(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Returns the values by name, and the flags. Ends the program with one line if a word is not UTF-8."""
    for word in argv:
        try:
            word.encode()
        except UnicodeEncodeError:
            sys.exit(
                f"{Path(sys.argv[0]).name}: {word!a} is not UTF-8: expected text that a job's description can hold"
            )
    end = argv.index("--")
    return dict(word.split("=", 1) for word in argv[:end]), list(argv[end + 1 :])


def dumps(document: Any) -> str:
    """JSON that a YAML parser reads as a JSON parser does.

    YAML takes some characters outside of ASCII for line breaks, so these are escaped. It does not know the two escapes
    that JSON has for a character above U+FFFF, so such a character is not escaped.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return re.sub("[^\n -~\U00010000-\U0010ffff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def metadata(given: dict[str, str], name: str) -> dict[str, Any]:
    """The name of something in Kubernetes, and its namespace if there is one."""
    return {"name": name} | ({"namespace": given["namespace"]} if given["namespace"] else {})


def data_volume(claim: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What mounts a volume claim at /data: an entry for a container and one for its pod; none without a claim."""
    if not claim:
        return [], []
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    return [{"name": "data", "mountPath": "/data"}], [volume]


def literal(word: str) -> str:
    """A word of a command as Kubernetes must get it: it replaces $(NAME) in commands and arguments, and $$ by $."""
    return word.replace("$", "$$")
