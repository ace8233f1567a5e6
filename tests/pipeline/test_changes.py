"""Files that change while a job reads them: the words are counted in one pass, and examples are made in the next."""

import os
import re

import pytest

from pipeline.__main__ import main
from pipeline.examples import shards
from tests.pipeline.helpers import contents, random_text, write_files

BEFORE = {"manifest.json": b"{}", "vocabulary.tsv": b"old", "skipgrams/skipgrams-00000-of-00001.tfrecord": b"old"}


def cut(path):
    os.truncate(path, 300)


def replace(path):
    """Another text of the same size."""
    size = path.stat().st_size
    path.unlink()
    path.write_bytes(random_text(9, size)[:size])


def replace_and_set_the_time_back(path):
    before = path.stat()
    replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, r"--input {path} has changed while it was read \(.*\): expected files that stay as they are"),
        (replace, r"--input {path} has changed while it was read \(.*\): expected files that stay as they are"),
        (os.remove, "{path} cannot be read: .*"),
        (replace_and_set_the_time_back, r"--input .* words when they were counted, and .* when examples were made"),
    ],
)
def test_a_file_that_changes_between_the_passes_is_told_by_name(change, message, tmp_path, monkeypatch, capsys):
    write_files(tmp_path, {"a.txt": random_text(1, 4000), "b.txt": random_text(2, 4000)})
    output = write_files(tmp_path / "dataset", BEFORE)
    vocabulary, changes = shards.Vocabulary, [change]

    def load(path, tokenizer):
        """The first thing that is done after the words were counted."""
        while changes:
            changes.pop()(tmp_path / "b.txt")
        return vocabulary(path, tokenizer)

    monkeypatch.setattr(shards, "Vocabulary", load)
    code = main(["--input", f"{tmp_path}/*.txt", "--output", str(output), "--overwrite", "--num_shards=2"])

    last = capsys.readouterr().err.splitlines()[-1]
    assert code == 1
    assert re.fullmatch(f"python -m pipeline: {message.format(path=tmp_path / 'b.txt')}.*", last)
    assert contents(output) == BEFORE
