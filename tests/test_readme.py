"""The documents stay true: every code block that can run is run, and prints what stands below it; every link leads on.

A document's blocks run in their order in one folder, which has a small text as corpus/. Blocks of other languages than
sh and python are the output of the block before them.
"""

import functools
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest

from tests import forked
from tests.conftest import ROOT

DOCUMENTS = ("README.md", "tests/benchmarks/tutorial.md")
LINKING_DOCUMENTS = (*DOCUMENTS, "deploy/README.md", "tests/benchmarks/README.md", ".github/CONTRIBUTING.md")

# These sections need no file that another section makes, so each runs in a folder of its own, beside the others.
INDEPENDENT_SECTIONS = ("Items from sessions", "From Python", "The dataset")

# Blocks that are not run, by their beginnings. Their flags are checked nevertheless.
NOT_RUN = {
    "bash deploy/local/quickstart.sh": "installs 3 GB",
    "bash tests/run.sh": "installs 3 GB and runs this test",
    "pip install": "installs 3 GB",
    "python -m pipeline --input 'corpus/*.txt' --output DATASET --vocab_size 500000": "starts eight workers",
    "python -m tests.benchmarks.tutorial": "needs the notebook",
    "from sentence_transformers import": "needs a library of gigabytes, with which tests/integration does the same",
    "deploy/serving/add_version.sh": "is a script of the checkout, which tests/deploy runs",
}  # fmt: skip
# Output blocks that are not compared, by their beginnings.
NOT_COMPARED = {
    " your text": "is a picture",
    "text files -->": "is a picture",
    "$ python -m trainer.neighbors --vectors quickstart/": "is what the quick start printed on another machine",
    "text        54.7 MB": "is of another text",
    "writing examples ━": "is a moment of a run on a terminal",
}
# Output blocks whose numbers depend on the processor; the words must be the same.
NUMBERS_DIFFER = ("tea-7", "...\ntuesday/dataset")

WORDS = "paris london is a city king queen man woman the of in to and it was that river house road".split()


class Block(NamedTuple):
    """A fenced code block."""

    document: str
    line: int  # where it begins, from 1
    section: str  # the heading of second level above it
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def is_run(self) -> bool:
        return self.language in ("sh", "python") and not self.text.startswith(tuple(NOT_RUN))


class Run(NamedTuple):
    """A block that was run."""

    returncode: int
    stdout: str
    stderr: str


def blocks_of(document):
    blocks, section, opened = [], "", None
    for number, line in enumerate((ROOT / document).read_text().splitlines(), start=1):
        if opened is None:
            if line.startswith("## "):
                section = line.removeprefix("## ")
            elif line.startswith("```"):
                opened = (number, line.removeprefix("```"), [])
        elif line == "```":
            blocks.append(Block(document, opened[0], section, opened[1], "\n".join(opened[2]) + "\n"))
            opened = None
        else:
            opened[2].append(line)
    assert opened is None, f"{document}, line {opened[0]}: this code block has no end"
    return blocks


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
# Every output block with the block above it, whose output it is.
OUTPUTS = [
    (above, below)
    for above, below in zip([None, *BLOCKS], BLOCKS)
    if below.language == "text" and not below.text.startswith(tuple(NOT_COMPARED))
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What the blocks that can run did, by block."""
    chains = {}
    for block in filter(lambda block: block.is_run, BLOCKS):
        section = block.section if block.section in INDEPENDENT_SECTIONS else ""
        chains.setdefault((block.document, section), []).append(block)
    folders = [tmp_path_factory.mktemp("document") for _ in chains]
    for package in forked.PACKAGES:
        forked.server(package)  # before there are threads
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(run_chain, chains.values(), folders)
        return {block: run for results in found for block, run in results.items()}


def run_chain(blocks, folder):
    write_files(folder)
    results = {}
    for block in blocks:
        results[block] = run_block(block, folder)
        if results[block].returncode:
            break  # the later blocks may need what this one should have made
    return results


def write_files(folder):
    """The files that the documents take for granted: text and test sets."""
    rng = np.random.default_rng(0)
    (folder / "corpus").mkdir()
    for number in range(2):
        lines = (" ".join(rng.choice(WORDS, rng.integers(4, 12))) for _ in range(500))
        (folder / "corpus" / f"{number}.txt").write_text("\n".join(lines) + "\n")
    (folder / "wordsim353.tsv").write_text("king\tqueen\t8.6\nman\twoman\t8.3\nriver\thouse\t1.5\n")
    (folder / "questions-words.txt").write_text(": family\nking queen man woman\n")


def run_block(block, folder):
    command = ["bash", "-e", "-c"] if block.language == "sh" else [sys.executable, "-c"]
    (folder / "bin").mkdir(exist_ok=True)
    python, environment = forked.python_in(folder / "bin")
    environment["PATH"] = f"{python.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [*command, block.text], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    return Run(done.returncode, done.stdout, done.stderr)


def run_of(block, runs):
    if block not in runs:
        pytest.skip("a block before this one failed")
    return runs[block]


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.is_run], ids=str)
def test_block_runs(block, runs):
    run = run_of(block, runs)
    assert run.returncode == 0, f"{block} ended with {run.returncode}:\n{block.text}\n{run.stdout}\n{run.stderr}"


@pytest.mark.parametrize("above, below", OUTPUTS, ids=lambda block: str(block))
def test_block_prints_what_stands_below_it(above, below, runs):
    assert above is not None and above.is_run, f"{below} is the output of no block that is run: list it in NOT_COMPARED"
    printed, shown = run_of(above, runs).stdout, below.text
    if shown.startswith(NUMBERS_DIFFER):
        printed, shown = (re.sub(r"[+-]?\d+", "0", text) for text in (printed, shown))
    pattern = ".*".join(map(re.escape, shown.strip().split("...")))
    assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"{below} shows\n{shown}\nbut it was\n{printed}"


def test_every_block_is_run_or_listed():
    for block in BLOCKS:
        assert block.is_run or block.language == "text" or block.text.startswith(tuple(NOT_RUN)), (
            f"{block} has the language {block.language!r}: expected sh, python or text, or a reason in NOT_RUN"
        )
    for beginning in (*NOT_RUN, *NOT_COMPARED, *NUMBERS_DIFFER):
        assert any(block.text.startswith(beginning) for block in BLOCKS), f"no block begins with {beginning!r}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.is_run], ids=str)
def test_flags_of_blocks_that_are_not_run(block):
    from pipeline import options
    from trainer import task

    for line in block.text.replace("\\\n", "").splitlines() if block.language == "sh" else []:
        parse = {"pipeline": options.parse, "trainer.task": task.parse}
        words = shlex.split(line)
        if words[:2] == ["python", "-m"] and words[2] in parse:
            parse[words[2]](words[3:])  # raises for an unknown flag or a value that is not allowed


def test_the_two_commands_of_a_fresh_machine():
    text = (ROOT / "README.md").read_text()
    for command in ("bash deploy/local/quickstart.sh", "bash tests/run.sh"):
        assert f"\n{command}\n" in text
        assert (ROOT / command.split()[1]).is_file()


@functools.cache
def anchors(path):
    """The anchors of a document's headings, as GitHub makes them."""
    found = {}
    for heading in re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S), re.M):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
    return {f"{name}-{number}" if number else name for name, last in found.items() for number in range(last + 1)}


def links(document):
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", (ROOT / document).read_text(), flags=re.M | re.S)
    return re.findall(r"\]\(([^)\s]+)\)", text)


@pytest.mark.parametrize("document", LINKING_DOCUMENTS)
def test_links_lead_somewhere(document):
    for link in links(document):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = ((ROOT / document).parent / name).resolve() if name else ROOT / document
        assert target.exists() and target.is_relative_to(ROOT), f"{document} links to {link}, which is not there"
        assert not anchor or anchor in anchors(target), f"{document} links to {link}: there is no such heading"


def test_links_are_found():
    assert "#the-dataset" in links("README.md")
    assert {"the-dataset", "install-and-a-first-result"} <= anchors(ROOT / "README.md")
