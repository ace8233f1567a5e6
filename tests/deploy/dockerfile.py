"""Reads a Dockerfile, for tests on machines that cannot build it."""

import shutil
from pathlib import Path


def instructions(path: Path) -> list[tuple[str, str]]:
    """Returns (instruction, arguments) pairs. Continued lines are joined, and comments are left out."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(name, arguments.strip()) for name, _, arguments in (line.partition(" ") for line in found)]


def copy(words: str, checkout: Path, folder: Path) -> None:
    """Follows a COPY instruction. What it copies from the checkout goes into the folder, which stands for WORKDIR."""
    *sources, target = words.split()
    for source in (checkout / source for source in sources):
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / target, ignore=ignored, dirs_exist_ok=True)
        else:
            (folder / target).mkdir(exist_ok=True)
            shutil.copy(source, folder / target)
