"""The order of the house: who may import whom, and what a command loads before it has read its flags."""

import ast
import functools
import graphlib
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# The rooms of a package, the lowest floor first. A room is a folder or a module. It imports only from lower floors; a
# folder also from itself. The package itself comes last: it is the door, and nothing inside goes through it.
FLOORS = {
    "pipeline": [
        {"errors", "interrupt"},
        {"dataset", "progress", "console", "settings", "lock", "limits", "streams"},
        {"config", "worker"},
        {"forks"},
        {"text"},
        {"examples"},
        {"plan", "job", "options", "inspection"},
        {"__main__", "inspect"},
        {"pipeline"},
    ],
    "trainer": [
        {"errors", "interrupt", "dataset_layout", "layout", "losses", "devices"}
        | {"columns", "row_blocks", "bundle", "train_function", "next_item", "bootstrap", "tokenizer_json"},
        {"checked_json", "files"},
        {"manifest", "settings", "cluster", "word2vec_parser", "lock", "limits", "plain_path", "optimizer"}
        | {"initialization", "skip_gram_sample"},
        {"console", "meeting", "formats", "config", "word2vec_format", "fused"},
        {"dataset", "model", "preflight", "group", "launcher", "state", "word_tasks", "embedding_model", "news"},
        {"batches", "places", "checkpoints", "saved_model", "damage", "divergence", "tables", "holdout", "comparison"}
        | {"warm_start", "building", "throughput", "checked_file"},
        {"export_formats"},
        {"static_embedding", "vector_search"},
        {"save_checkpoints", "progress", "curves", "export", "projector", "resume", "model_files", "scores", "report"},
        {"training"},
        {"api", "task", "neighbors", "evaluate"},
        {"member"},
        {"trainer"},
    ],
}
PACKAGES = list(FLOORS)
LARGE = {"tensorflow", "keras", "apache_beam", "tensorflow_transform"}
WALLS = {"trainer": {"pipeline", "apache_beam", "tensorflow_transform", "tfx_bsl"}, "pipeline": {"trainer"}}
COMMANDS = {  # and what each does not load before it has read its flags
    "pipeline": LARGE | {"numpy"},
    "pipeline.inspect": LARGE | {"numpy"},
    "trainer.task": LARGE | {"numpy"},
    "trainer.neighbors": LARGE | {"numpy"},
    "trainer.evaluate": LARGE,
    "trainer.report": LARGE | {"numpy"},
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def imports(package: str) -> dict[str, set[str]]:
    """By module of a package: all modules that it imports, also within functions and for type checkers."""
    files = {module_name(path): path for path in (ROOT / package).rglob("*.py")}
    graph = {}
    for module, path in files.items():
        graph[module] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                graph[module] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    graph[module].add(submodule if submodule in files else node.module)
    return graph


def inner_imports(package: str) -> dict[str, set[str]]:
    """The same, with the modules of the package alone."""
    graph = imports(package)
    return {module: imported & set(graph) for module, imported in graph.items()}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_on_a_floor(package):
    rooms = [room for floor in FLOORS[package] for room in floor]

    assert sorted(rooms) == sorted({room(module) for module in imports(package)})


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_goes_up(package):
    floor_of = {room: number for number, floor in enumerate(FLOORS[package]) for room in floor}

    up = [
        f"{module} imports {imported}"
        for module, others in inner_imports(package).items()
        for imported in others
        if room(module) != room(imported) and floor_of[room(module)] <= floor_of[room(imported)]
    ]
    assert not up


@pytest.mark.parametrize("package", PACKAGES)
def test_no_imports_form_a_cycle(package):
    order = list(graphlib.TopologicalSorter(inner_imports(package)).static_order())  # raises CycleError

    assert sorted(order) == sorted(imports(package))


# The wall between the packages


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_imports_through_the_wall(package):
    through = [
        f"{module} imports {imported}"
        for module, others in imports(package).items()
        for imported in others
        if imported.split(".")[0] in WALLS[package]
    ]
    assert not through


def loaded_by(script: str) -> set[str]:
    """The packages and modules at the top level that a fresh Python has loaded after a script."""
    script += "\nimport sys\nprint(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_whole_trainer_loads_nothing_from_behind_the_wall():
    loaded = loaded_by("\n".join(f"import {module}" for module in imports("trainer")))

    assert {"trainer", "tensorflow", "keras"} <= loaded
    assert not loaded & WALLS["trainer"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_door_is_light(package):
    """Also where the names that need nothing large are used."""
    config = {"pipeline": "PipelineConfig", "trainer": "TrainerConfig"}[package]

    loaded = loaded_by(f"import {package}\nfrom {package} import UserError, {config}\ndir({package})")

    assert package in loaded
    assert not loaded & (LARGE | {"numpy"})


# Commands


def run_help(module: str, *python_flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, *python_flags, "-m", module, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)


def processor_seconds(command: Callable[[], object]) -> float:
    """The processor's time and not the clock's, so that a busy machine matters less; the best of three."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


@pytest.mark.parametrize("module", COMMANDS)
def test_help_takes_no_time(module):
    assert "--version" in run_help(module).stdout

    script = "" if "numpy" in COMMANDS[module] else "import numpy"
    bare = processor_seconds(lambda: subprocess.run([sys.executable, "-c", script], check=True))
    taken = processor_seconds(lambda: run_help(module))

    assert taken < max(0.3, bare + 0.2), (taken, bare)  # on a slow machine, all take longer


@pytest.mark.parametrize("module", COMMANDS)
def test_help_loads_nothing_large(module):
    lines = run_help(module, "-X", "importtime").stderr.splitlines()
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines if line.startswith("import time:")}

    assert "argparse" in loaded
    assert not loaded & COMMANDS[module]
