"""Tests workers that start with a bare Python, outside of the checkout.

Workers start like this on Dataflow, and wherever they run in Beam's images: Beam's program `boot` fetches the archive
of --setup_file and the requirements of --requirements_file from the launcher, installs both with pip, and starts
Python.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.integration.helpers import (
    NO_WORDS,
    assert_same_dataset,
    beam_program,
    free_port,
    job,
    make_locally,
    write_corpus,
)
from tests.pipeline.helpers import contents, environment, write_files

CONSTRAINTS = ROOT / "deploy" / "constraints.txt"
# A pool of workers. When SIGTERM stops it, it stops its workers.
POOL = """
import signal, sys
from apache_beam.runners.worker import worker_pool_main
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
worker_pool_main.main(sys.argv)
"""


class Worker:
    """A directory with everything that a worker has: a Python, its packages, and the files that it was sent.

    Args:
        directory: a new one, outside the checkout.
        wheels: the packages that pip may install.
    """

    def __init__(self, directory: Path, wheels: Path):
        self.directory = directory
        self.log = directory / "pool.log"
        self._venv = directory / "venv"
        subprocess.run([sys.executable, "-m", "venv", self._venv], check=True)
        for name in ("home", "staging", "tmp", "work"):
            (directory / name).mkdir()
        self._environment = {
            "PATH": f"{self._venv}/bin:/usr/bin:/bin",
            "HOME": str(directory / "home"),
            "TMPDIR": str(directory / "tmp"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",  # boot installs here, and not in a venv below /opt
        }
        pip = self._popen("-m", "pip", "install", "-q", "-c", CONSTRAINTS, "apache-beam", "setuptools")
        assert pip.wait(600) == 0

    def _popen(self, *args, **kwargs) -> subprocess.Popen:
        folder = self.directory / "work"
        return subprocess.Popen(
            [self._venv / "bin" / "python", *args], cwd=folder, env=self._environment, start_new_session=True, **kwargs
        )

    def python(self, script: str) -> subprocess.CompletedProcess:
        """Runs a script in the worker's directory and environment."""
        with self._popen("-c", script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def site_packages(self) -> Path:
        (path,) = self._venv.glob("lib/python*/site-packages")
        return path

    @contextlib.contextmanager
    def serving(self) -> Iterator[int]:
        """Runs the worker's pool. Yields its port, where launchers find it."""
        boot = self.directory / "boot"
        boot.write_text(f'#!/bin/sh\nexec {beam_program("boot")} --semi_persist_dir={self.directory}/staging "$@"\n')
        boot.chmod(0o755)
        port = free_port()
        with self.log.open("wb") as log:
            pool = self._popen(
                "-c", POOL, f"--service_port={port}", f"--container_executable={boot}",
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            self._wait_for(port, pool)
            yield port
        finally:
            pool.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                pool.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pool.pid, signal.SIGKILL)
            pool.wait()

    def _wait_for(self, port: int, pool: subprocess.Popen) -> None:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
                return
            assert pool.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def requirements(tmp_path_factory):
    """The requirements file that deploy/dataflow/run.sh sends along."""
    path = tmp_path_factory.mktemp("requirements") / "requirements.txt"
    with path.open("w") as file:
        subprocess.run(
            [sys.executable, ROOT / "deploy" / "dataflow" / "worker_requirements.py"], stdout=file, check=True
        )
    return path


@pytest.fixture(scope="module")
def wheels(requirements):
    """The worker's package index, a folder of wheels: 750 MB, downloaded once."""
    directory = ROOT / "build" / "workers" / "wheels"
    directory.mkdir(parents=True, exist_ok=True)
    stamp = directory / "complete"
    state = hashlib.sha256((requirements.read_text() + CONSTRAINTS.read_text() + sys.version).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != state:
        subprocess.run(
            [
                sys.executable, "-m", "pip", "wheel", "-q", "-w", directory, "--find-links", directory,
                "-c", CONSTRAINTS, "-r", requirements, "apache-beam", "setuptools",
            ],
            check=True, timeout=1800,
        )  # fmt: skip
        stamp.write_text(state)
    return directory


@pytest.fixture(scope="module")
def worker(tmp_path_factory, wheels):
    """A worker that has Beam, but neither this project nor the other packages that the project needs."""
    worker = Worker(tmp_path_factory.mktemp("worker"), wheels)
    for module in ("pipeline", "tensorflow", "tensorflow_transform"):
        assert f"No module named '{module}'" in worker.python(f"import {module}").stderr
    beam = worker.python("import apache_beam; print(apache_beam.__version__)")
    assert beam.stdout.strip() == importlib.metadata.version("apache-beam"), beam.stderr
    return worker


@pytest.fixture(scope="module")
def launch(worker, requirements):
    """A function that runs the pipeline on that worker."""
    with worker.serving() as port:
        flags = (
            "--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{port}", f"--setup_file={ROOT / 'setup.py'}",
            f"--requirements_file={requirements}", "--requirements_cache=skip",
        )  # fmt: skip

        def launch(*args) -> subprocess.CompletedProcess:
            return subprocess.run(
                [sys.executable, "-m", "pipeline", *args, *flags],
                env=environment(), capture_output=True, text=True, timeout=1200,
            )  # fmt: skip

        yield launch


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def dataset(launch, worker, corpus, tmp_path_factory):
    """The dataset that the worker made."""
    dataset = tmp_path_factory.mktemp("dataset")
    done = launch(*job(corpus, dataset))
    assert done.returncode == 0, f"{done.stderr}\n{worker.log.read_text()[-5000:]}"
    return dataset


def test_the_dataset_is_the_local_runs(dataset, corpus, tmp_path):
    assert_same_dataset(dataset, make_locally(corpus, tmp_path))


def test_the_worker_runs_the_sdist_and_the_pinned_packages(dataset, worker, requirements):
    """The worker cannot see the checkout. It has the archive that it was sent, and the versions that were asked for."""
    assert "Starting worker with command" in worker.log.read_text()
    found = worker.python("import pipeline, sys; print(pipeline.__file__); print(*sys.path, sep='\\n')")
    packages = worker.site_packages()
    assert found.stdout.splitlines()[0] == str(packages / "pipeline" / "__init__.py"), found.stderr
    assert str(ROOT) not in found.stdout
    sources, installed_files = (
        {path.relative_to(root): path.read_bytes() for path in (root / "pipeline").rglob("*.py")}
        for root in (ROOT, packages)
    )
    assert installed_files == sources
    (installed,) = packages.glob("word2vec_beam-*.dist-info")
    source = json.loads((installed / "direct_url.json").read_text())["url"]
    assert source == f"file://{worker.directory}/staging/staged/workflow.tar.gz"

    script = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
    has = {_normalized(line) for line in worker.python(script).stdout.splitlines()}
    pins = {_normalized(line.split(";")[0]) for line in requirements.read_text().splitlines()}
    assert any(pin.startswith("tensorflow==") for pin in pins)
    assert pins - has == set()


def _normalized(pin: str) -> str:
    name, version = pin.strip().split("==")
    return f"{canonicalize_name(name)}=={version}"


def test_a_mistake_that_a_worker_finds_is_told_in_one_line(dataset, launch, tmp_path):
    write_files(tmp_path, {"a.txt": b"\n \n ... \n"})

    done = launch("--input", tmp_path / "a.txt", "--output", tmp_path / "dataset")

    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == f"python -m pipeline: {NO_WORDS}"
    assert contents(tmp_path / "dataset") == {}
