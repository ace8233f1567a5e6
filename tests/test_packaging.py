"""What the packages import is what setup.py declares, and what it declares is what the constraints pin."""

import ast
import importlib.metadata
import runpy
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYTHON_VERSIONS = ("3.11", "3.12", "3.13")
DISTRIBUTIONS = importlib.metadata.packages_distributions()


def setup_arguments():
    """What setup.py passes to setuptools, run in the checkout."""
    arguments = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setuptools.setup", lambda **kwargs: arguments.update(kwargs))
        patch.chdir(ROOT)
        runpy.run_path(str(ROOT / "setup.py"))
    return arguments


SETUP = setup_arguments()
DECLARED = [*SETUP["install_requires"], *(text for extra in SETUP["extras_require"].values() for text in extra)]


def imported_names(package):
    """The first part of every module that a package imports, wherever in a file."""
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
    """The constraints that apply: name -> version."""
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


@pytest.mark.parametrize("package", ["pipeline", "trainer"])
def test_every_import_is_declared(package):
    requirements = [*SETUP["install_requires"], *SETUP["extras_require"][package]]
    declared = {canonicalize_name(Requirement(text).name) for text in requirements}
    for name in imported_names(package) - {package}:
        distributions = {canonicalize_name(distribution) for distribution in DISTRIBUTIONS[name]}
        assert distributions & declared, f"{package} imports {name}: setup.py declares none of {distributions}"


@pytest.mark.parametrize(
    "package, others",
    [("trainer", {"pipeline", "apache_beam", "tensorflow_transform", "tfx_bsl"}), ("pipeline", {"trainer"})],
)
def test_packages_share_nothing(package, others):
    assert not imported_names(package) & others


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
