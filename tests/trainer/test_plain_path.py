"""Another path of a directory, which TensorFlow can use."""

import os

import pytest

from trainer import plain_path as module
from trainer.errors import UserError
from trainer.plain_path import decoded, plain_path

ODD = ["ü", "語", "a b", "'q\"", "[v2]", "new\nline", "*?", "{a,b}", "back\\slash", "$HOME", "\udcfc"]
IN_ASCII = os.fsencode("ü").decode("ascii", "surrogateescape")  # as Python has it where the locale is ASCII


@pytest.fixture(params=["descriptor", "link"])
def way(request, monkeypatch):
    """How the other path leads to the directory: without /proc, by a link in a folder for temporary files."""
    if request.param == "link":
        monkeypatch.setattr(module, "_DESCRIPTORS", "/nowhere")
    return request.param


@pytest.mark.parametrize("name", ODD)
def test_an_odd_path_has_a_plain_one(tmp_path, name, way):
    directory = tmp_path / name
    directory.mkdir()
    with plain_path(str(directory)) as path:
        assert path.isascii() and not set(path) & set("[]{}*?\\ \n'\"$")
        with open(f"{path}/file", "w") as file:
            file.write("text")
    assert (directory / "file").read_text() == "text"
    assert not os.path.lexists(path)


def test_a_path_in_a_locale_of_ascii(tmp_path):
    (tmp_path / "ü").mkdir()
    with plain_path(f"{tmp_path}/{IN_ASCII}") as path:
        open(f"{path}/file", "w").close()
    assert os.listdir(tmp_path / "ü") == ["file"]
    assert decoded(f"{tmp_path}/{IN_ASCII}") == f"{tmp_path}/ü"


def test_the_folder_for_temporary_files_may_be_odd_too(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_DESCRIPTORS", "/nowhere")
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "[ü]").mkdir()
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path / "[ü]"))
    with plain_path(str(tmp_path / "[ü]")) as path:
        assert path.isascii() and "[" not in path
        assert os.path.samefile(path, tmp_path / "[ü]")


@pytest.mark.parametrize("path", ["/some/where", "gs://bucket/ü [v2]", "relative", "", "a-b_c.d=1,2:3@4%20+~"])
def test_a_plain_or_remote_path_stays_as_it_is(path):
    with plain_path(path) as same:
        assert same == path


def test_a_missing_directory_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"/ü cannot be opened \(No such file or directory\): expected a directory"):
        with plain_path(f"{tmp_path}/ü"):
            pass


def test_a_path_that_is_not_utf_8_is_one_line():
    with pytest.raises(UserError, match=r"/data/\\udcfc' is not UTF-8: expected a path in this encoding"):
        decoded("/data/\udcfc")
