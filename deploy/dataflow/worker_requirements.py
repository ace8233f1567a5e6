"""python deploy/dataflow/worker_requirements.py > requirements.txt

What a worker has to install before the pipeline: all that the extra [pipeline] brings, directly or not, each at the
version of deploy/constraints.txt. Which packages these are is asked of the environment this runs in.
"""

import importlib.metadata
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
PROJECT = Requirement("word2vec-beam[pipeline]")
PRESENT = {"word2vec-beam", "apache-beam"}  # on a worker: staged as an archive, and in every worker's image


def required(project: Requirement) -> set[str]:
    """The names of everything that a requirement brings, itself included."""
    names, seen, todo = set(), set(), [project]
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
        sys.exit(f"worker_requirements.py: deploy/constraints.txt pins no {', '.join(unpinned)}: renew it")
    for name in sorted(names):
        print(pins[name])


if __name__ == "__main__":
    main()
