"""Follows the Dockerfiles of both images as far as that needs neither Docker nor a network."""

import email
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deploy.dockerfile import copy, instructions

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"  # pip calls this too


def build_wheel(run: str, folder: Path, wheels: Path) -> zipfile.ZipFile:
    """Follows a RUN instruction, but where that installs the project, builds its wheel without the requirements."""
    commands = run.split(" && ")
    (install,) = (command for command in commands if command.startswith("pip install "))
    before = commands[: commands.index(install)]
    if before:
        subprocess.run(["sh", "-ec", " && ".join(before)], cwd=folder, check=True)
    build = [sys.executable, "-c", BUILD, wheels]
    result = subprocess.run(build, cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    (wheel,) = wheels.glob("*.whl")
    return zipfile.ZipFile(wheel)


@pytest.mark.parametrize(
    "image, extras, packages",
    [("image", {"pipeline", "gcp"}, ("pipeline", "trainer")), ("vertex", {"trainer", "gpu"}, ("trainer",))],
)
def test_the_requirements_come_before_the_packages(tmp_path, image, extras, packages):
    """The first layer has the requirements and no module, the second every module of the image's packages."""
    source = tmp_path / "source"
    source.mkdir()
    steps = [
        (name, re.sub(" +", " ", words))
        for name, words in instructions(ROOT / "deploy" / image / "Dockerfile")
        if (name == "COPY" and not words.startswith("--from=")) or (name == "RUN" and "pip install" in words)
    ]
    wheels = []
    for name, words in steps:
        if name == "RUN":
            wheels.append(build_wheel(words, source, tmp_path / f"wheels{len(wheels)}"))
        elif not words.endswith(" /template/"):
            copy(words, ROOT, source)
    first, second = wheels

    metadata = email.message_from_bytes(first.read(next(n for n in first.namelist() if n.endswith("/METADATA"))))
    assert extras <= set(metadata.get_all("Provides-Extra"))
    assert not [name for name in first.namelist() if name.endswith(".py")]
    modules = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    expected = {str(path.relative_to(ROOT)): path.read_bytes() for path in modules}
    assert {name: second.read(name) for name in second.namelist() if name.endswith(".py")} == expected
