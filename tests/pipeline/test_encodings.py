"""Text in UTF-16 or UTF-32 is told, whatever the language and however it is stored; text in UTF-8 never is."""

import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import PipelineConfig
from pipeline.errors import UserError, user_message
from pipeline.plan.estimate import estimate
from pipeline.text import files
from pipeline.text.encoding import check_encoding, wide_encoding
from pipeline.text.files import TextRange
from tests.pipeline.helpers import deterministic, run_here, write_files

ENGLISH = "The road goes ever on and on, down from the door.\n" * 40
RUSSIAN = "Дорога уводит вдаль и вдаль, начавшись у порога.\n" * 40
CHINESE = "".join(random.Random(1).choices("一二三人大小道路门山水天地日月火木金土", k=40 * 20))
CHINESE = "".join(CHINESE[i : i + 20] + "\r\n" for i in range(0, len(CHINESE), 20))
NAMES = {"utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE", "utf-32-le": "UTF-32LE", "utf-32-be": "UTF-32BE"}


@pytest.mark.parametrize("codec", NAMES)
@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN, CHINESE], ids=["English", "Russian", "Chinese"])
def test_text_of_any_language_is_told_with_and_without_a_byte_order_mark(text, codec):
    assert wide_encoding(text.encode(codec)) == NAMES[codec]
    assert wide_encoding(("\ufeff" + text).encode(codec)) == NAMES[codec][:6]
    assert wide_encoding("\ufeff".encode(codec)) == NAMES[codec][:6]
    assert wide_encoding(text.encode(codec) * 100) == NAMES[codec]  # only the beginning is looked at


@deterministic
@given(
    text=st.text(st.characters(min_codepoint=9, max_codepoint=126), min_size=4),
    codec=st.sampled_from(sorted(NAMES)),
)
def test_any_ascii_text_is_told(text, codec):
    assert wide_encoding(text.encode(codec)) == NAMES[codec]


@deterministic
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_utf8_without_nul_is_never_refused(text):
    assert wide_encoding(text.encode()) is None


LINES = ENGLISH.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"a\0b\0",
        b"\xef\xbb\xbf" + LINES,
        LINES[:100] + b"\0" + LINES,
        b"\0" * 60_000 + LINES,
        b"\0" * 70_000,
        LINES + b"\0" * 60_000,
        LINES.replace(b"\n", b"\0"),
        LINES.replace(b" ", b"\0"),
        b"".join(b"%-15s\n" % word.ljust(12, b"\0") for word in LINES.split()),
        LINES.replace(b"\n", b"\n\0"),
        random.Random(2).randbytes(10_000),
        "é\xa0".encode("latin-1") * 100,
    ],
    ids=[
        "empty", "NUL", "short", "mark of UTF-8", "a stray NUL", "sparse before", "sparse", "sparse behind",
        "lines end with NUL", "words end with NUL", "columns filled with NUL", "NUL behind each newline", "random",
        "Latin-1",
    ],
)  # fmt: skip
def test_other_bytes_are_not_taken_for_it(data):
    assert wide_encoding(data) is None
    assert check_encoding("x", data) is None


def ranges_of(path):
    """The range of a file alone, and that of a group in which it comes second."""
    (alone,) = files.file_ranges(str(path), 1, f"{path.parent}/")
    return alone, TextRange(str(path.parent / "first.txt"), "first.txt", 0, 1 << 20, (str(path),))


@pytest.mark.parametrize("name", ["a.txt", "a.gz", "a.bz2"])
def test_the_file_is_named_with_what_to_do(tmp_path, name):
    write_files(tmp_path, {"first.txt": b"first\n", name: ENGLISH.encode("utf-16")})
    for text_range in ranges_of(tmp_path / name):
        with pytest.raises(UserError) as raised:
            list(files.read_range(text_range))

        assert str(raised.value) == (
            f"--input {tmp_path / name} is UTF-16: expected UTF-8; convert it with iconv -f UTF-16 -t UTF-8"
        )


def test_a_job_ends_with_one_line(tmp_path):
    name = "b.txt.gz"
    write_files(tmp_path / "text", {"a.txt": LINES, name: RUSSIAN.encode("utf-16-le")})

    with pytest.raises(Exception) as raised:  # noqa: PT011 - its type depends on the runner
        run_here("--input", tmp_path / "text" / "*", "--output", tmp_path / "dataset")

    assert user_message(raised.value).startswith(
        f"--input {tmp_path / 'text' / name} is UTF-16LE: expected UTF-8; convert it with iconv -f UTF-16LE -t UTF-8"
    )


@pytest.mark.parametrize("name", ["a.txt", "a.gz"])
def test_a_plan_refuses_it_although_it_reads_pieces_alone(tmp_path, name):
    """The mark is in no piece of the sample of the plain file."""
    data = ("\ufeff" + CHINESE.replace("\r\n", "") * 1000).encode("utf-16-le")
    path = tmp_path / name
    path.write_bytes(gzip.compress(data, 0) if name.endswith(".gz") else data)

    with pytest.raises(UserError, match=rf"{name} is UTF-16: expected UTF-8"):
        estimate(PipelineConfig(input=(str(path),), output=str(tmp_path / "dataset")), 0.1)
