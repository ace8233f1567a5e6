"""The examples run from end to end, as programs and cell by cell, and show what they say that they show."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import ROOT

EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.py"))
# Documentation of Python itself, which is enough text to train on in a second.
PACKAGES = (
    "asyncio",
    "collections",
    "concurrent",
    "email",
    "http",
    "importlib",
    "logging",
    "multiprocessing",
    "unittest",
)


def cells(path):
    """The kind of each cell, which is code or markdown, and its text."""
    first, *parts = re.split(r"(?m)^# %%", path.read_text())
    assert not first
    return [("markdown" if part.startswith(" [markdown]\n") else "code", part.partition("\n")[2]) for part in parts]


def run(path, folder, **environment):
    """Runs an example in an empty folder, and returns what it prints."""
    python, servers = forked.python_in(folder)
    done = subprocess.run(
        [python, "-c", path.read_text()],
        cwd=folder, env={**servers, **environment}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_cells_are_those_of_a_notebook(path):
    """Each cell of code is complete in itself. Each cell of prose consists of comments."""
    kinds = [kind for kind, _ in cells(path)]
    assert kinds[:2] == ["markdown", "code"] and kinds[-1] == "markdown" and len(kinds) > 10
    for kind, text in cells(path):
        assert text.strip()
        if kind == "code":
            assert ast.parse(text).body
            assert not re.search(r"(?<![.])__file__", text) and "__main__" not in text  # notebooks have neither
        else:
            assert all(line.startswith("# ") or line in ("#", "") for line in text.splitlines())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_names_are_defined_in_cells_above(path):
    defined = set(dir(__builtins__)) | set(__builtins__ if isinstance(__builtins__, dict) else ())
    for kind, text in cells(path):
        tree = ast.parse(text if kind == "code" else "")
        stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                stored |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.FunctionDef):
                arguments = node.args
                stored |= {node.name, *(each.arg for each in [*arguments.args, *arguments.kwonlyargs])}
                stored |= {each.arg for each in (arguments.vararg, arguments.kwarg) if each}
        defined |= stored
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not used - defined, f"{path.name} uses names before they are there"


def test_words(tmp_path):
    library = Path(os.__file__).parent
    gathered = subprocess.run(
        [sys.executable, ROOT / "deploy/local/gather_docstrings.py", tmp_path / "text.txt", "--root"]
        + [library / name for name in PACKAGES],
        capture_output=True, text=True,
    )  # fmt: skip
    assert gathered.returncode == 0, gathered.stderr
    printed = run(ROOT / "deploy/examples/words.py", tmp_path, TEXT=str(tmp_path / "text.txt"))

    losses = [float(loss) for loss in re.findall(r"epoch +\d+: loss ([0-9.]+)", printed)]
    assert len(losses) == 10 and losses[-1] < losses[0]
    assert re.search(r"(?m)^  \w+: .*_", printed)  # a target between the words around it
    assert re.search(r"(?m)^unknown +\d", printed)  # the coverage
    # gensim and the served model find the same neighbours as the first list.
    word, nearest = re.search(r"(?m)^(\w+): (.*)$", printed[printed.index("epoch 10") :].partition("\n")[2]).groups()
    names = re.findall(r"(\w[\w']*) -?[0-9.]+", nearest)[:3]
    for other in names:
        assert len(re.findall(rf"(?m)^(?:\[\(|{word} \[).*{re.escape(other)}.*$", printed)) == 2
    assert re.search(rf"{word} occurs \d+ times", printed)
    assert {"metrics.json", "report.html", "saved_model", "vectors.bin"} <= set(printed.split())


def test_items(tmp_path):
    printed = run(ROOT / "deploy/examples/items.py", tmp_path)

    monday, tuesday = re.split(r"(?m)^items-example/tuesday/dataset", printed)
    hit_rates = dict(re.findall(r"(?m)^(\S*,? ?\w+) +10  ([0-9.]+)", monday))
    assert float(hit_rates["items-example/monday/model, cosine"]) > 5 * float(hit_rates["popularity"])
    known, mixed, unknown, served = (ast.literal_eval(line) for line in re.findall(r"(?m)^\['.*'\]$", monday))
    assert known == served and all(item.startswith("shelf7-brand2") for item in known)
    assert len(mixed) == len(unknown) == 5 and all(item.endswith("item0") for item in unknown)
    new, shelf, others = re.search(r"(?m)^((shelf\d+)\S*) (\[.*\])$", tuesday).groups()
    assert int(new.rpartition("item")[2]) >= 10 and all(item.startswith(shelf) for item in ast.literal_eval(others)[:1])
