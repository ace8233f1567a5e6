"""Prints the packages that a worker must install before it can run the pipeline, each at its pinned version.

    python deploy/dataflow/worker_requirements.py > requirements.txt

These are the packages that the extra [pipeline] of setup.py brings, directly or through other packages. The script
finds them among the packages that are installed here, and takes their versions from deploy/constraints.txt.
"""

import importlib.metadata
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
PROJECT = Requirement("word2vec-beam[pipeline]")
# A worker has these already: Beam is in every worker's image, and the project is sent along as an archive.
PRESENT = {"word2vec-beam", "apache-beam"}


def required(project: Requirement) -> set[str]:
    """Returns the names of all packages that a requirement brings, its own name included."""
    names: set[str] = set()
    seen: set[tuple[str, str]] = set()  # (package, extra)
    todo = [project]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        names.add(name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for text in importlib.metadata.requires(name) or ():
                child = Requirement(text)
                if child.marker is None or child.marker.evaluate({"extra": extra}):
                    todo.append(child)
    return names


def main() -> None:
    """Prints the requirements."""
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if line and not line.startswith("#")]
    pins = {canonicalize_name(Requirement(line).name): line for line in lines}
    names = required(PROJECT) - PRESENT
    if unpinned := sorted(names - pins.keys()):
        sys.exit(
            f"worker_requirements.py: deploy/constraints.txt has no line for {', '.join(unpinned)}: "
            "renew the file as its first lines say"
        )
    for name in sorted(names):
        print(pins[name])


if __name__ == "__main__":
    main()
