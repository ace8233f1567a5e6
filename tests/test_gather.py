"""Documentation strings as a corpus: English stays, everything else goes, and the order is fixed."""

import inspect
import subprocess
import sys

import gather_docstrings
import pytest

SENTENCE = "Returns the number of words in the line."
OTHER = "Every file below the folder is read exactly once."


def prose(docstring):
    return list(gather_docstrings.prose(docstring))


@pytest.mark.parametrize(
    "docstring, paragraphs",
    [
        ("", []),
        (SENTENCE, [SENTENCE]),
        (f"Returns the number\n    of words in\n    the line.\n\n    {OTHER}\n    ", [SENTENCE, OTHER]),
        ("Too short to say much.", []),
        ("A title that is a heading of some kind", []),  # no sentence: it does not end
        (f"{SENTENCE}\n\n>>> count('every word of it is code')\n7\nwhich is printed as code is printed.\n\n{OTHER}",
         [SENTENCE, OTHER]),
        (f"{SENTENCE}\n\n    indented = like_all(code, or, a, table)  # that stands in a text.\n\n{OTHER}",
         [SENTENCE, OTHER]),
        (f"{SENTENCE}\n```python\nwords that stand\n\nbetween two fences are code.\n```\n{OTHER}",
         [SENTENCE, OTHER]),
        (f"{SENTENCE}\n\nArgs:\n  line: the text whose words are to be counted here.\n\n{OTHER}", [SENTENCE, OTHER]),
        (f"{SENTENCE}\n\nParameters\n----------\nline : the text whose words are counted.\n    Text.\n\n{OTHER}",
         [SENTENCE, OTHER]),
        (f":param line: the text whose words are to be counted.\n.. note:: that this is no sentence either.\n\n{OTHER}",
         [OTHER]),
        ("| a | b |\n| the words of a table that could be a sentence. |", []),
        ("Returns the number of words\0in the line.", []),
        ("f(x)=[1,2,3]+{4:5}*(6) g(y)=[7]; h(z)={8}!", []),
        ("Returns a :class:`~text.Word` or a :py:obj:`Line <text.Line>`, never ``None`` itself.",
         ["Returns a Word or a Line, never None itself."]),
    ],
)  # fmt: skip
def test_prose(docstring, paragraphs):
    assert prose(docstring) == paragraphs


@pytest.fixture
def packages(tmp_path):
    root = tmp_path / "packages"
    files = {
        "b/__init__.py": f'"""{SENTENCE}"""\n',
        "b/tests/test_b.py": '"""What a test says about itself is not worth reading."""\n',
        "a/words.py": f'''
            raise RuntimeError("imported")
            class Words:
                """{OTHER}

                Of a class the text is taken as well as of others.
                """
                async def count(self):
                    """Counts the words and then waits for the file."""
                def again(self):
                    """{SENTENCE}"""
            ''',
        "a/broken.py": "def broken(:\n",
        "a/latin.py": b'"""A file that is in no encoding that it names: \xe9."""\n',
        "a/notes.txt": "A text file is no Python file and stays unread.",
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else inspect.cleandoc(content).encode())
    return root


def test_command(packages, tmp_path):
    corpus = tmp_path / "corpus.txt"
    command = [sys.executable, gather_docstrings.__file__, corpus, "--root", packages]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert corpus.read_text().splitlines() == [
        OTHER,
        "Of a class the text is taken as well as of others.",
        "Counts the words and then waits for the file.",
        SENTENCE,
    ]
    assert result.stdout == f"38 words of documentation in {corpus}\n"
    assert not result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.txt", "packages"]
