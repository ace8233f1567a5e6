"""Follows the Dockerfiles of both images as far as that needs neither Docker nor a network."""

import os
import pwd
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from tests.deploy.dockerfile import copy, instructions

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"  # pip calls this too


def build_wheel(folder: Path, wheels: Path) -> zipfile.ZipFile:
    """Builds the project's wheel, as pip does before it installs it."""
    build = [sys.executable, "-c", BUILD, wheels]
    result = subprocess.run(build, cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    (wheel,) = wheels.glob("*.whl")
    return zipfile.ZipFile(wheel)


@pytest.mark.parametrize("image, packages", [("image", ("pipeline", "trainer")), ("vertex", ("trainer",))])
def test_the_requirements_come_before_the_packages(tmp_path, image, packages):
    """The first layer has the packages of the list, with their hashes. The second has every module of the project."""
    source = tmp_path / "source"
    source.mkdir()
    installed = []
    for name, words in instructions(ROOT / "deploy" / image / "Dockerfile"):
        if name == "RUN" and "pip install" in words:
            installed.append(sorted(path.name for path in source.iterdir()))
            (install,) = (command for command in words.split(" && ") if command.strip().startswith("pip install"))
            assert "--no-build-isolation" in install  # what pip fetches for a build is compared with no hash
            assert (" --require-hashes -r requirements" in install) == (len(installed) == 1)
            assert (" --no-deps ." in install) == (len(installed) == 2)
        elif name == "COPY" and not words.startswith("--from=") and (words.endswith("./") or "/" not in words):
            copy(words, ROOT, source)
    first, second = installed

    assert first and all(name.startswith("requirements") for name in first)
    assert {"setup.py", "pyproject.toml", *packages} <= set(second)
    wheel = build_wheel(source, tmp_path / "wheels")
    modules = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    expected = {str(path.relative_to(ROOT)): path.read_bytes() for path in modules}
    assert {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".py")} == expected


# --- The user of the pipeline's image ---

BOOT = ROOT / "deploy" / "image" / "boot.sh"


def test_the_image_starts_with_the_program_that_gives_up_root():
    lines = instructions(ROOT / "deploy" / "image" / "Dockerfile")
    (user,) = (words for name, words in lines if name == "RUN" and words.startswith("useradd"))
    assert "--uid 1000 --create-home beam" in user and "install -d -o beam -g beam /opt/apache/beam-venv" in user
    assert ("COPY", "deploy/image/boot.sh /opt/word2vec/") in lines
    assert lines[-1] == ("ENTRYPOINT", '["/opt/word2vec/boot.sh"]')
    assert os.access(BOOT, os.X_OK)
    program = runpy.run_path(str(ROOT / "deploy" / "flink" / "kubernetes.py"))
    assert program["NO_ROOT"]["runAsUser"] == 1000 and program["NO_ROOT"]["runAsNonRoot"] is True


@pytest.fixture
def boot():
    """boot.sh for the user nobody. In place of Beam's program it starts one that tells its user and its arguments."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a folder of pytest's is closed to other users
        os.chmod(folder, 0o755)
        program, script = Path(folder, "boot"), Path(folder, "boot.sh")
        program.write_text('#!/bin/sh\nid -un\necho "$HOME"\nprintf "%s\\n" "$@"\ntouch "$FOLDER/made"\n')
        text = BOOT.read_text().replace("user=beam", "user=nobody").replace("/opt/apache/beam/boot", str(program))
        script.write_text(text.replace("--regid=$user", "--regid=nogroup"))
        for path in (program, script):
            path.chmod(0o755)
        yield script


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up root")
@pytest.mark.parametrize("form", ["--semi_persist_dir={}", "-semi_persist_dir={}", "--semi_persist_dir {}"])
def test_a_worker_is_not_root_and_can_write_to_its_folder(boot, form):
    folder = boot.parent / "opt google"
    folder.mkdir(mode=0o755)  # it belongs to root, as on Dataflow
    flags = [word.format(folder) for word in form.split(" ")]
    result = subprocess.run(
        [boot, "--id=a b", *flags], capture_output=True, text=True, env={**os.environ, "FOLDER": str(folder)}
    )
    assert result.returncode == 0, result.stderr
    user, home, *arguments = result.stdout.splitlines()
    assert (user, arguments) == ("nobody", ["--id=a b", *flags])
    assert home == pwd.getpwnam("nobody").pw_dir
    assert (folder / "made").owner() == "nobody"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_root_the_worker_starts_at_once(boot):
    folder = boot.parent / "own"
    folder.mkdir()
    os.chown(folder, 1, 1)
    environment = {**os.environ, "FOLDER": str(folder)}
    result = subprocess.run([boot, "x"], capture_output=True, text=True, user=1, group=1, env=environment)
    assert result.returncode == 0, result.stderr
    assert (folder / "made").stat().st_uid == 1


# --- Digests ---

DIGEST = "sha256:" + "0123456789abcdef" * 4


def pin(checkout: Path, digest: str) -> subprocess.CompletedProcess:
    """Runs pin.sh in a copy of the scripts, with a program in place of Docker."""
    (checkout / "bin").mkdir(exist_ok=True)
    docker = checkout / "bin" / "docker"
    docker.write_text(f"#!/bin/sh\n[ '{digest}' ] && echo '{digest}'\n")
    docker.chmod(0o755)
    environment = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}
    return subprocess.run([checkout / "deploy/image/pin.sh"], capture_output=True, text=True, env=environment)


def test_digests_are_written_into_both_dockerfiles(tmp_path):
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    paths = [tmp_path / "deploy" / image / "Dockerfile" for image in ("image", "vertex")]
    before = [re.sub("@sha256:.*", "", path.read_text()) for path in paths]
    for digest in (DIGEST, DIGEST.replace("0", "9")):  # the second time, it takes the place of the first
        result = pin(tmp_path, digest)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count(f"@{digest}\n") == 4
        for path, text in zip(paths, before):
            words = dict(words.split("=", 1) for name, words in instructions(path) if name == "ARG" and ":" in words)
            assert words and all(image.endswith(f"@{digest}") for image in words.values())
            assert path.read_text().replace(f"@{digest}", "") == text
    for wrong in ("", "latest"):
        result = pin(tmp_path, wrong)
        assert result.returncode == 1 and result.stderr.count("\n") == 1


def test_actions_are_named_by_commit():
    for workflow in (ROOT / ".github" / "workflows").glob("*.yml"):
        actions = re.findall(r"uses: (\S+)", workflow.read_text())
        assert actions and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in actions)
