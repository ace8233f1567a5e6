"""Tests that deploy/README.md names only files, flags and sections that exist."""

import re
import subprocess
from pathlib import Path

import pytest

from pipeline import options
from trainer import task

ROOT = Path(__file__).parents[2]
README = (ROOT / "deploy" / "README.md").read_text()
# Commands stand in indented blocks, and a line that ends with a backslash goes on in the next.
COMMANDS = [
    line.strip() for line in README.replace("\\\n", " ").splitlines() if re.match(r" {4}deploy/\w+/\w+\.sh", line)
]
BEAM_FLAGS = {"--max_num_workers", "--parallelism"}


def flags(text: str) -> set[str]:
    """Returns the flags that a text names."""
    return set(re.findall(r"(?<!\S)--[a-z_]+", text.replace("[", " ").replace("|", " ")))


def test_the_files_are_there():
    paths = set(re.findall(r"\b(?:deploy|pipeline|trainer|tests)/[\w/]+\.\w+", README))
    assert len(paths) > 15
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_the_links_lead_to_sections():
    sections = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"(?m)^#+ (.*)$", README)
    }
    links = set(re.findall(r"\]\(#([^)]*)\)", README))
    assert links and links <= sections


@pytest.mark.parametrize("command", COMMANDS)
def test_the_scripts_have_the_flags(command):
    script = command.split()[0]
    help_text = subprocess.run([ROOT / script, "--help"], capture_output=True, text=True, check=True).stdout
    own, _, trainers = command.partition(" -- ")
    known = flags(help_text) | BEAM_FLAGS | set(options.flag_parser()._option_string_actions)
    assert flags(own) <= known
    assert flags(trainers) <= set(task.flag_parser()._option_string_actions)
