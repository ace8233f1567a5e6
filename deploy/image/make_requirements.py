"""Writes the lists of packages that the images install, each with its version and the SHA-256 of its file.

    python deploy/image/make_requirements.py

Run it after a change of setup.py or deploy/constraints.txt. It needs Linux on x86-64, the images' version of Python,
and the package index. pip chooses the packages as it would for an installation, but installs nothing.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# The lists, and the extras of setup.py whose packages each has.
LISTS = {
    "deploy/image/requirements.txt": "pipeline,gcp",
    "deploy/vertex/requirements-cpu.txt": "trainer",
    "deploy/vertex/requirements-gpu.txt": "trainer,gpu",
}


def chosen(extras: str) -> dict[str, Any]:
    """Asks pip what it would install, and returns its report."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    command += ["-c", "deploy/constraints.txt", f".[{extras}]"]
    # Files from elsewhere than the index could have other hashes.
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    return json.loads(subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def lines(report: dict[str, Any]) -> Iterator[str]:
    """A line for each package except the project itself."""
    for package in sorted(report["install"], key=lambda package: package["metadata"]["name"].lower()):
        if not package["is_direct"]:
            metadata, archive = package["metadata"], package["download_info"]["archive_info"]
            yield f"{metadata['name']}=={metadata['version']} --hash=sha256:{archive['hashes']['sha256']}\n"


def main() -> None:
    """Writes all lists."""
    for path, extras in LISTS.items():
        report = chosen(extras)
        about = report["environment"]
        head = f"# The extras {extras} for CPython {about['python_version']} on {about['sys_platform']} "
        head += f"{about['platform_machine']}. deploy/image/make_requirements.py wrote this list.\n"
        (ROOT / path).write_text(head + "".join(lines(report)))


if __name__ == "__main__":
    main()
