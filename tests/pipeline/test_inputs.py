"""Which files the patterns match, whether they have changed since, and whether they lie in the output."""

import os
import warnings

import pytest
from apache_beam.io.filesystems import FileSystems

from pipeline.dataset.layout import partial_folder, shard_name
from pipeline.text.inputs import FoundFile, as_pattern, changed_file, find_files, input_root, reads_output
from tests.pipeline.helpers import write_files


@pytest.fixture
def corpus(tmp_path):
    """Two files, which were last modified at noon."""
    write_files(tmp_path, {"a.txt": b"x" * 1000, "b.txt": b"y" * 10})
    for name in ("a.txt", "b.txt"):
        os.utime(tmp_path / name, ns=(0, 1_700_000_000_500_000_000))
    return tmp_path


def test_a_found_file_says_what_the_file_is_like(corpus):
    assert sorted(find_files([f"{corpus}/*"])) == [
        FoundFile(f"{corpus}/a.txt", 1000, 1_700_000_000.5),
        FoundFile(f"{corpus}/b.txt", 10, 1_700_000_000.5),
    ]


def shorten(corpus):
    os.truncate(corpus / "a.txt", 10)
    os.utime(corpus / "a.txt", ns=(0, 1_700_000_000_500_000_000))


def rewrite(corpus):
    os.utime(corpus / "b.txt", ns=(0, 1_700_000_000_501_000_000))


NOON = "2023-11-14 22:13:20.500 UTC"
AGAIN = "expected files that stay as they are; run again"
CHANGES = {
    "nothing": (lambda corpus: None, None),
    "a new file": (lambda corpus: write_files(corpus, {"c.txt": b"new"}), None),
    "another size": (
        shorten,
        f"a.txt has changed while it was read (1,000 bytes of {NOON}, now 10 bytes of {NOON}): {AGAIN}",
    ),
    "another time": (
        rewrite,
        f"b.txt has changed while it was read (10 bytes of {NOON}, now 10 bytes of {NOON.replace('500', '501')}): "
        f"{AGAIN}",
    ),
    "removed": (lambda corpus: (corpus / "a.txt").unlink(), f"a.txt was removed while it was read: {AGAIN}"),
    "renamed": (
        lambda corpus: (corpus / "b.txt").rename(corpus / "c.txt"),
        f"b.txt was removed while it was read: {AGAIN}",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_is_named(corpus, change):
    patterns = [f"{corpus}/a*", f"{corpus}/*.txt"]
    before = list(find_files(patterns))
    make_change, message = CHANGES[change]

    make_change(corpus)

    assert changed_file(before, patterns) == (message and f"--input {corpus}/{message}")


# The output

# The pattern and the output, relative to one directory, and whether the one reads the other.
PLACES = [
    ("D/**", "D/o", True),
    ("D/**", "D", True),
    ("D/*", "D", True),
    ("**", "D/o", True),
    ("D/*/*", "D/o", True),
    ("D/**.tsv", "D/o", True),
    ("D/**.tfrecord", "D/o", True),
    ("D/**.gz", "D/o", True),
    ("D/o/vocabulary.tsv", "D/o", True),
    ("D/o/transform_fn/assets/*", "D/o", True),
    ("D/[a-z]/*.json", "D/o", True),
    ("D/../D/./o/*", "D/o/", True),
    ("D/*.txt", "D", False),
    ("D/**.txt", "D/o", False),
    ("D/*", "D/o", False),
    ("D/o*/*.txt", "D/o", False),
    ("D/in/**", "D/o", False),
    ("D/out/**", "D/o", False),
    ("D/text.txt", "D/o", False),
]


@pytest.mark.parametrize("root", ["LOCAL", "gs://bucket"])
@pytest.mark.parametrize(("pattern", "output", "reads"), PLACES)
def test_a_pattern_that_reads_the_output_is_told(tmp_path, root, pattern, output, reads):
    if root == "LOCAL":
        root = tmp_path
    elif ".." in pattern:  # an object store has no such spelling
        reads = False
    first, pattern = f"{root}/other/*.txt", f"{root}/{pattern}"

    assert reads_output([first, pattern], f"{root}/{output}") == (pattern if reads else None)


@pytest.mark.parametrize(("pattern", "output", "reads"), PLACES)
def test_that_is_what_would_be_matched_if_the_dataset_were_there(tmp_path, pattern, output, reads):
    folders = [str(tmp_path / output), partial_folder(str(tmp_path / output), "x")]
    names = ["manifest.json", "vocabulary.tsv", "transform_fn/saved_model.pb", "transform_fn/assets/vocabulary.tsv"]
    names += [shard_name(0, 1, compression) for compression in ("none", "gzip")]
    for folder in folders:
        write_files(tmp_path, {os.path.relpath(f"{folder}/{name}", tmp_path): b"" for name in names})

    matched = FileSystems.match([as_pattern(str(tmp_path / pattern))])[0].metadata_list

    assert bool(matched) == reads


def test_relative_paths_and_symbolic_links_are_followed(tmp_path, monkeypatch):
    (tmp_path / "real [1]").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real [1]")
    (tmp_path / "real [1]" / "away").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)

    assert reads_output(["link/**"], "real [1]/o") == "link/**"
    assert reads_output(["link/*.txt", "real ?1?/**"], "link/o") == "real ?1?/**"
    assert reads_output(["link/**"], "o") is None
    assert reads_output(["link/**"], "link/away/o") is None  # no link below a pattern's directory is followed


def test_a_folder_of_an_object_store_stands_for_all_its_files():
    assert reads_output(["gs://bucket/o/"], "gs://bucket/o") == "gs://bucket/o/"


def test_brackets_in_a_name_cause_no_warning(tmp_path):
    write_files(tmp_path, {"[1] a[2].txt": b"x"})

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = find_files([as_pattern(str(tmp_path / "[1] a[2].txt"))])

    assert found.path == f"{tmp_path}/[1] a[2].txt"


@pytest.mark.parametrize("folder", ["[v2]", "a*b", "what?", "[[]x]"])
def test_brackets_in_the_name_of_a_directory_stand_for_themselves(folder, tmp_path, monkeypatch):
    """Names, which random draws depend on, are those of the same corpus in an ordinary directory."""
    (tmp_path / folder / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.txt", "sub/c[1].txt"):
        (tmp_path / folder / name).write_text("x\n")
    monkeypatch.chdir(tmp_path / folder)

    for patterns in ([f"{tmp_path}/{folder}/a.txt", f"{tmp_path}/{folder}/sub/*.txt"], ["a.txt", "sub/*.txt"]):
        spelled = [as_pattern(pattern) for pattern in patterns]
        root = input_root(spelled)
        assert root == f"{tmp_path}/{folder}/"
        found = sorted(file.path.removeprefix(root) for file in find_files(spelled))
        assert found == ["a.txt", "sub/b.txt", "sub/c[1].txt"]
    assert reads_output(["**"], "sub/out") == "**"
    assert reads_output(["sub/*.txt"], "sub/out") is None
