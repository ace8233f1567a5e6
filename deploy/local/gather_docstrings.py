"""Gathers English text from the documentation strings of the Python packages that are installed.

    python deploy/local/gather_docstrings.py corpus.txt

Every machine with Python has such text. The script writes one paragraph per line. It parses the Python files and
imports none of them. The same files always give the same text.
"""

import argparse
import ast
import concurrent.futures
import inspect
import itertools
import os
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator

_MIN_WORDS = 6  # of a paragraph
_MIN_LETTERS = 0.75  # the least share of letters among a paragraph's characters; code and tables have fewer

_SKIPPED_FOLDERS = {"test", "tests", "testing", "site-packages", "dist-packages", "__pycache__"}
# These hold generated clients of web services. They would be half of the text, and say the same hundreds of times.
_SKIPPED_FOLDERS |= {"google", "vertexai", "agentplatform"}

_HEADING = re.compile(r"([-=~^#*+])\1{2,}\s*")  # the line below a heading
_NOT_PROSE = re.compile(r":|@|\.\. |\||\+-|#|\S+ : ")  # fields, directives, tables, comments, parameters
_MARKUP = re.compile(r":[\w:]+:(?=`)|\s*<[^<>]*>(?=`)|`(?:~[\w.]+\.)?")  # :class:`name <target>`, :class:`~module.name`


def prose(docstring: str) -> Iterator[str]:
    """Yields the paragraphs of a documentation string that are English text.

    Only lines without indentation are taken. Indented lines are code, its output, or the description of a parameter.
    """
    lines = inspect.cleandoc(docstring).splitlines()
    paragraph: list[str] = []
    inside: str | None = None  # a "fence", which ends at the next fence, or a "doctest", which ends at an empty line
    for line, below in itertools.pairwise([*lines, ""]):
        is_fence = line.startswith("```")
        if is_fence or not line.strip() or _HEADING.fullmatch(line):
            yield from _paragraph(paragraph)
            paragraph = []
            if is_fence:
                inside = None if inside == "fence" else "fence"
            elif inside == "doctest":
                inside = None
        elif line.startswith(">>>"):
            inside = inside or "doctest"
        elif not (inside or line[0].isspace() or _NOT_PROSE.match(line) or _HEADING.fullmatch(below)):
            paragraph.append(line)
    yield from _paragraph(paragraph)


def _paragraph(lines: list[str]) -> Iterator[str]:
    text = _MARKUP.sub("", " ".join(" ".join(lines).split()))
    letters = sum(c.isalpha() or c == " " for c in text)
    is_sentence = text.endswith((".", "!", "?")) and text.isprintable() and len(text.split()) >= _MIN_WORDS
    if is_sentence and letters >= _MIN_LETTERS * len(text):
        yield text


def docstrings(path: str) -> Iterator[str]:
    """Yields the documentation strings of a file, and nothing if the file cannot be parsed."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns about questionable code, which here is other people's
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if docstring := ast.get_docstring(node, clean=False):
                yield docstring


def python_files(roots: Iterable[str]) -> Iterator[str]:
    """Yields the Python files below the roots, in a fixed order and without tests."""
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(set(folders) - _SKIPPED_FOLDERS)
            yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".py"))


def _paragraphs(path: str) -> list[str]:
    return [paragraph for docstring in docstrings(path) for paragraph in prose(docstring)]


def gather(roots: Iterable[str]) -> Iterator[str]:
    """Yields every paragraph below the roots once, in a fixed order."""
    seen: set[str] = set()
    with concurrent.futures.ProcessPoolExecutor() as pool:
        for paragraphs in pool.map(_paragraphs, python_files(roots), chunksize=64):
            for paragraph in paragraphs:
                if paragraph not in seen:
                    seen.add(paragraph)
                    yield paragraph


def main(argv: list[str]) -> None:
    """Writes the file, and prints how many words are in it."""
    paths = sysconfig.get_paths()
    parser = argparse.ArgumentParser(description="Gathers English text from documentation strings.", allow_abbrev=False)
    parser.add_argument("output", help="the text file to write")
    parser.add_argument(
        "--root",
        nargs="+",
        metavar="DIR",
        default=[paths["stdlib"], paths["purelib"]],
        help="folders with Python files (default: the standard library and the installed packages)",
    )
    flags = parser.parse_args(argv)
    num_words = 0
    partial = flags.output + ".partial"
    with open(partial, "w", encoding="utf-8", errors="ignore") as file:
        for paragraph in gather(flags.root):
            file.write(paragraph + "\n")
            num_words += len(paragraph.split())
    os.replace(partial, flags.output)
    print(f"{num_words:,} words of documentation in {flags.output}")


if __name__ == "__main__":
    main(sys.argv[1:])
