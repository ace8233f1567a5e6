"""What is installed is complete, requires what it imports, and has the commands that it promises."""

import ast
import importlib.metadata
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYTHON_VERSIONS = ("3.11", "3.12", "3.13")
DISTRIBUTIONS = importlib.metadata.packages_distributions()


def setup_arguments():
    """What setup.py passes to setuptools if it runs in the checkout."""
    arguments = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setuptools.setup", lambda **kwargs: arguments.update(kwargs))
        patch.chdir(ROOT)
        runpy.run_path(str(ROOT / "setup.py"))
    return arguments


SETUP = setup_arguments()
DECLARED = [*SETUP["install_requires"], *(text for extra in SETUP["extras_require"].values() for text in extra)]


def imported_names(package):
    """The first part of the name of every module that a package imports, also within functions."""
    names = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names


def pins(python_version):
    """The constraints for a Python version: name -> version."""
    lines = (ROOT / "deploy/constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found = {}
    for requirement in requirements:
        if requirement.marker is None or requirement.marker.evaluate({"python_version": python_version}):
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", f"{requirement} pins nothing"
            assert canonicalize_name(requirement.name) not in found, f"{requirement} is there twice"
            found[canonicalize_name(requirement.name)] = specifier.version
    return found


LISTS = runpy.run_path(str(ROOT / "deploy/image/make_requirements.py"))["LISTS"]
required = runpy.run_path(str(ROOT / "deploy/dataflow/worker_requirements.py"))["required"]


def hashed(path):
    """The packages of a list with hashes: name -> version. Each has one hash, of the file that the image installs."""
    found = {}
    for line in (ROOT / path).read_text().splitlines():
        if not line.startswith("#"):
            name, version = re.fullmatch(r"(\S+)==(\S+) --hash=sha256:[0-9a-f]{64}", line).groups()
            found[canonicalize_name(name)] = version
    return found


@pytest.mark.parametrize("path", LISTS)
def test_the_images_packages_are_the_pinned_ones(path):
    assert hashed(path).items() <= pins("3.11").items(), "run deploy/image/make_requirements.py"


@pytest.mark.parametrize("path", LISTS)
def test_the_images_have_every_package_that_is_required(path):
    """Packages for a GPU are not installed here, so only their names are compared."""
    extras = LISTS[path].replace(",gpu", "")
    names = required(Requirement(f"word2vec-beam[{extras}]")) - {"word2vec-beam"}
    if extras != LISTS[path]:
        names |= {name for name in pins("3.11") if name.startswith("nvidia-")}
    missing = names - hashed(path).keys()
    assert not missing, "run deploy/image/make_requirements.py"
    # The project itself is built with the setuptools of the list.
    (build_system,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert Requirement(build_system).specifier.contains(hashed(path)["setuptools"])


def test_the_constraints_are_those_of_what_is_declared():
    declared = {canonicalize_name(Requirement(text).name) for text in SETUP["install_requires"]}
    assert declared and all(declared <= hashed(path).keys() for path in LISTS)


@pytest.mark.parametrize("package", ["pipeline", "trainer"])
def test_every_import_is_declared(package):
    requirements = [*SETUP["install_requires"], *SETUP["extras_require"][package]]
    declared = {canonicalize_name(Requirement(text).name) for text in requirements}
    for name in imported_names(package) - {package}:
        distributions = {canonicalize_name(distribution) for distribution in DISTRIBUTIONS[name]}
        assert distributions & declared, f"{package} imports {name}: setup.py declares none of {distributions}"


def test_training_needs_no_beam():
    requirements = [*SETUP["install_requires"], *SETUP["extras_require"]["trainer"], *SETUP["extras_require"]["gpu"]]
    names = {canonicalize_name(Requirement(text).name) for text in requirements}
    assert not names & {"apache-beam", "tensorflow-transform", "tfx-bsl"}


@pytest.mark.parametrize("python_version", PYTHON_VERSIONS)
@pytest.mark.parametrize("text", sorted(set(DECLARED)))
def test_constraints_pin_what_is_declared(text, python_version):
    requirement = Requirement(text)
    version = pins(python_version)[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), f"{version} is pinned"


def test_all_brings_what_both_packages_need():
    extras = SETUP["extras_require"]

    assert set(extras["all"]) == {*extras["pipeline"], *extras["trainer"]}


# Installing


def files_of(directory):
    """The files of both packages below a directory, as relative paths."""
    return {
        str(path.relative_to(directory))
        for package in ("pipeline", "trainer")
        for path in (directory / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def build(folder):
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "--build-lib", "lib"], cwd=folder, check=True, capture_output=True
    )
    return folder / "lib"


def test_every_file_of_the_packages_is_installed(tmp_path):
    for name in ("pipeline", "trainer"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, tmp_path)

    installed = files_of(build(tmp_path))

    assert installed == files_of(ROOT)
    assert {"pipeline/py.typed", "trainer/py.typed", "pipeline/job/graph.py", "trainer/task.py"} <= installed


def test_a_package_and_the_readme_may_be_missing(tmp_path):
    """As in the trainer's container image."""
    shutil.copytree(ROOT / "trainer", tmp_path / "trainer")
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)

    assert {name.split("/")[0] for name in files_of(build(tmp_path))} == {"trainer"}


def test_the_readme_is_the_long_description():
    assert SETUP["long_description"] == (ROOT / "README.md").read_text()
    assert SETUP["long_description_content_type"] == "text/markdown"


# Commands

SCRIPTS = dict(text.split(" = ") for text in SETUP["entry_points"]["console_scripts"])
MODULES = {
    "word2vec-pipeline": "pipeline",
    "word2vec-train": "trainer.task",
    "word2vec-neighbors": "trainer.neighbors",
    "word2vec-evaluate": "trainer.evaluate",
    "word2vec-report": "trainer.report",
}


def run_script(name, *args):
    """Runs a console script as pip would write it, from a folder that is not the checkout."""
    module, function = SCRIPTS[name].split(":")
    code = f"import sys; sys.argv[0] = '/opt/bin/{name}'; from {module} import {function}; sys.exit({function}())"
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, cwd="/"
    )


def run_module(module, *args):
    return subprocess.run([sys.executable, "-m", module, *args], capture_output=True, text=True, cwd=ROOT)


def test_there_is_a_script_for_each_command():
    assert set(SCRIPTS) == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_usage_and_errors_name_the_program_as_it_was_called(name):
    for done, program in (
        (run_script(name, "--no_such_flag"), name),
        (run_module(MODULES[name], "--no_such_flag"), f"python -m {MODULES[name]}"),
    ):
        assert done.returncode == 2
        assert done.stderr.startswith(f"{program}: ") and done.stderr.count("\n") == 1
    assert run_script(name, "--help").stdout.startswith(f"usage: {name} [-h] [--version] ")
    assert run_module(MODULES[name], "--help").stdout.startswith(f"usage: python -m {MODULES[name]} [-h] [--version] ")


@pytest.mark.parametrize("name", MODULES)
def test_every_command_tells_the_version(name):
    for done in (run_script(name, "--version"), run_module(MODULES[name], "--version")):
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"word2vec-beam {SETUP['version']}\n"


@pytest.mark.parametrize("console", ["pipeline.console", "trainer.console"])
def test_a_checkout_that_is_not_installed_says_so(console, monkeypatch):
    def not_installed(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", not_installed)

    assert importlib.import_module(console).version() == "word2vec-beam, from a checkout that is not installed"


def test_the_fused_step_is_compiled_from_all_of_its_files():
    (extension,) = SETUP["ext_modules"]
    sources = {Path(path).name for path in (*extension.sources, *extension.depends)}
    assert sources == {path.name for path in (ROOT / "trainer/fused").glob("*.[ch]")}


def test_an_installation_without_a_compiler_goes_on_without_the_fused_step(tmp_path):
    shutil.copytree(ROOT / "trainer/fused", tmp_path / "trainer/fused", ignore=shutil.ignore_patterns("*.so", "*.py*"))
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {"PATH": os.environ["PATH"], "CC": str(tmp_path / "no-compiler")}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert not list(tmp_path.rglob("*.so"))
