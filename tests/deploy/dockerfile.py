"""A Dockerfile's instructions, for tests on machines where nothing can build it."""

from pathlib import Path


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, its arguments), continued lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(name, arguments.strip()) for name, _, arguments in (line.partition(" ") for line in found)]
