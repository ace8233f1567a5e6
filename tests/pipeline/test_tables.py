"""Tables as input: the text of a column is that of a text file with a line for each row."""

import gzip
import json
import lzma
import random
import re
from collections import Counter

import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet as arrow_parquet

from pipeline.config import PipelineConfig
from pipeline.errors import UserError
from pipeline.plan.estimate import estimate
from pipeline.plan.sample import text_files
from pipeline.text import files, json_lines, lines, parquet
from pipeline.text.columns import column_text, holds_lists
from pipeline.text.files import TextRange
from pipeline.text.sources import Source, Table
from pipeline.text.tables import check_tables
from tests.catalogue import Catalogue
from tests.pipeline.helpers import flatten, read_manifest, read_vocabulary, run_here, shard_contents

SOURCE = Source(column="items")
STRANGE = [
    ["a", "b"], [], None, ["c d", "\te\n"], [None, "f"], ["", "g", " "], ["h\x00i"], ["é", "好", "\u00a0x"], ["a"] * 50,
]  # fmt: skip


def naive(rows, counts):
    """The text of rows, and what is counted, token by token."""
    text = []
    for row in rows:
        if row is None:
            counts["rows_null"] += 1
        if isinstance(row, str):
            text.append(row)
            continue
        tokens = []
        for token in row or []:
            if token is None:
                counts["tokens_null"] += 1
                continue
            mended = re.sub("[\t\n\v\f\r \0]", "_", str(token).strip("\t\n\v\f\r \0"))
            counts["tokens_with_white_space"] += mended != str(token)
            counts["tokens_empty"] += not mended
            tokens += [mended] if mended else []
        text.append(" ".join(tokens))
    return "".join(f"{line}\n" for line in text).encode()


def write_parquet(path, rows, kind=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"id": range(len(rows)), "items": pa.array(rows, kind), "items.b": ["no"] * len(rows)}
    arrow_parquet.write_table(pa.table(columns), path, **options)
    return path


def write_json(path, rows, column="items"):
    text = "".join(json.dumps({"id": number, column: row}) + "\n" for number, row in enumerate(rows)).encode()
    pack = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(text))
    return path


def read(path, source=SOURCE):
    """The text blocks of each range of a file."""
    ranges = files.file_ranges(str(path), path.stat().st_size, f"{path.parent}/", source)
    return [list(files.read_range(text_range)) for text_range in ranges]


def text_of(ranges):
    return b"".join(line + b"\n" for block in flatten(ranges) for line in block.lines)


def counts_of(ranges):
    return +sum((block.counts for block in flatten(ranges)), Counter())


def row_counts(counts):
    return {name: value for name, value in counts.items() if value and name.startswith(("rows_", "tokens_"))}


# Columns


def wrapped(row):
    """A list as it comes from a table of BigQuery that was loaded without list inference."""
    return row if row is None else {"list": [{"element": token} for token in row]}


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (pa.list_(pa.string()), STRANGE),
        (pa.large_list(pa.large_string()), STRANGE),
        (pa.list_view(pa.string_view()), STRANGE),
        (pa.list_(pa.dictionary(pa.int8(), pa.string())), STRANGE),
        (pa.struct([("list", pa.list_(pa.struct([("element", pa.string())])))]), STRANGE),
        (pa.list_(pa.int64()), [[1, -2], None, [], [2**62, None]]),
        (pa.large_list(pa.uint8()), [[255], None]),
        (pa.list_(pa.int32(), 2), [[1, 2], None, [3, None]]),
        (pa.list_(pa.null()), [[], None, [None]]),
        (pa.string(), ["a b", None, "", "two\nlines", "\t x"]),
        (pa.large_string(), ["a", None]),
        (pa.dictionary(pa.int32(), pa.string()), ["a b", "c", None, "a b"]),
        (pa.null(), [None, None]),
    ],
    ids=str,
)
def test_the_text_of_a_column_is_that_of_its_rows(kind, rows):
    column = pa.array(map(wrapped, rows) if pa.types.is_struct(kind) else rows, kind)
    for start, stop in ((0, len(rows)), (1, len(rows)), (1, 2), (0, 0)):
        counts, expected = Counter(), Counter()
        assert column_text(column[start:stop], counts) == naive(rows[start:stop], expected)
        assert counts == +expected
    assert holds_lists(kind) == any(isinstance(row, list) for row in rows)


@pytest.mark.parametrize(
    "kind",
    [
        pa.int64(), pa.float32(), pa.bool_(), pa.binary(), pa.timestamp("us"), pa.struct([("a", pa.string())] * 2),
        pa.map_(pa.string(), pa.string()), pa.list_(pa.list_(pa.string())), pa.list_(pa.float64()),
        pa.list_(pa.struct([("a", pa.string()), ("b", pa.string())])), pa.list_(pa.bool_()), pa.list_(pa.binary()),
    ],
    ids=str,
)  # fmt: skip
def test_a_column_of_another_type_is_refused_with_its_type(tmp_path, kind):
    path = write_parquet(tmp_path / "a.parquet", [None], kind)

    with pytest.raises(
        UserError, match=r"^--column items: --input .*a\.parquet has values of type .*: expected strings"
    ):
        read(path)
    arrow_parquet.write_table(pa.table({"items": pa.array([], kind)}), path)
    assert read(path) == []  # a table without rows may have any type


# Ranges of rows


def test_all_rows_are_read_once_in_order_whatever_the_row_groups(tmp_path, monkeypatch):
    """With small constants: row groups are read together, alone and in parts."""
    monkeypatch.setattr(parquet, "TEXT_BLOCK_BYTES", 400)
    monkeypatch.setattr(parquet, "_TEXT_OF_PART", 1000)
    monkeypatch.setattr(parquet, "_TEXT_OF_BATCH", 300)
    monkeypatch.setattr(lines, "TEXT_BLOCK_BYTES", 200)
    rng = random.Random(1)
    rows = [[f"w{rng.randrange(100)}" for _ in range(rng.randrange(9))] for _ in range(600)]
    rows[7], rows[300] = None, ["x y", None]
    kinds = set()
    for size in (1, 7, 40, 600):
        path = write_parquet(tmp_path / f"{size}.parquet", rows, row_group_size=size)

        ranges = read(path)

        counts = Counter()
        assert text_of(ranges) == naive(rows, counts)
        assert row_counts(counts_of(ranges)) == row_counts(counts)
        assert counts_of(ranges)["lines_read"] == 600
        offsets = [block.offset for block in flatten(ranges)]
        assert len(offsets) > 20 and offsets == sorted(set(offsets))
        assert all(len(b"\n".join(block.lines)) < 300 for block in flatten(ranges))
        described = [r.rows for r in files.file_ranges(str(path), path.stat().st_size, "", SOURCE)]
        kinds |= {(item.last - item.first > 1, item.parts > 1) for item in described}
    assert kinds == {(True, False), (False, False), (False, True)}


def test_ranges_of_a_file_go_to_all_shards_alike(tmp_path):
    """A range has a place as if its file were a plain one, whatever its row groups."""
    path = write_parquet(tmp_path / "a.parquet", [["a"] * 100_000] * 20, row_group_size=2)

    ranges = list(files.file_ranges(str(path), path.stat().st_size, f"{tmp_path}/", SOURCE))

    table = Table("parquet", "items", True)
    assert ranges == [
        TextRange(str(path), "a.parquet", n << 20, n + 1 << 20, (), table, parquet.Rows(n, n + 1), ranges[n].size)
        for n in range(10)
    ]
    assert sum(each.size for each in ranges) == path.stat().st_size
    assert max(each.size for each in ranges) - min(each.size for each in ranges) <= 1


def test_blocks_do_not_depend_on_batches(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "a.parquet", [[f"word{i}", None, "b c"] for i in range(3000)], row_group_size=900)
    monkeypatch.setattr(lines, "TEXT_BLOCK_BYTES", 5000)
    monkeypatch.setattr(parquet, "_MOST_ROWS_OF_BATCH", 1000)
    blocks = [[(block.offset, block.lines) for block in blocks] for blocks in read(path)]

    monkeypatch.setattr(parquet, "_MOST_ROWS_OF_BATCH", 77)

    assert [[(block.offset, block.lines) for block in blocks] for blocks in read(path)] == blocks


def test_a_column_whose_name_begins_as_another_or_has_a_dot(tmp_path):
    rows = [["a"], ["b"]]
    path = write_parquet(tmp_path / "a.parquet", rows)

    assert text_of(read(path)) == b"a\nb\n"
    assert text_of(read(path, Source(column="items.b"))) == b"no\nno\n"


# JSON lines


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz", "a.jsonl.xz", "a.JSONL.zst"])
def test_json_lines_have_the_text_of_their_rows(tmp_path, name):
    rows = [*STRANGE, [1, -2, 2**80], "a b", "two\nlines", ["\ud83d\ude00", "a\u2028b"]]
    rows[-1][0] = "😀"
    counts = Counter()

    ranges = read(write_json(tmp_path / name, rows))

    assert text_of(ranges).replace(b" i", b"\0i") == naive(rows, counts)
    assert row_counts(counts_of(ranges)) == row_counts(counts)


def test_ranges_of_json_lines_are_by_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TEXT_BLOCK_BYTES", 100)
    rows = [[f"word{i}"] * (i % 40) for i in range(200)]
    path = write_json(tmp_path / "a.jsonl", rows)

    ranges = read(path)

    assert len(ranges) > 100
    assert text_of(ranges) == naive(rows, Counter())
    offsets = [block.offset for block in flatten(ranges)]
    assert offsets == sorted(set(offsets))


def test_lines_that_are_no_rows_are_counted_and_left_empty(tmp_path):
    odd = {
        b'{"items": ["a"]': "rows_not_json", b"plain text": "rows_not_json", b'{"items": "\0"}': "rows_not_json",
        b"[" * 100_000: "rows_not_json", b'["a"]': "rows_wrong_type", b'{"items": 1}': "rows_wrong_type",
        b'{"items": true}': "rows_wrong_type", b'{"items": [1.0]}': "rows_wrong_type",
        b'{"items": [true, "a"]}': "rows_wrong_type", b'{"items": [["a"]]}': "rows_wrong_type",
        b'{"items": {"a": 1}}': "rows_wrong_type", b'{"other": ["a"]}': "rows_without_column",
        b'{"items": null}': "rows_null", b"": None, b" \r": None,
    }  # fmt: skip
    (tmp_path / "a.jsonl").write_bytes(
        b'\xef\xbb\xbf{"items": ["first"]}\n' + b"".join(b"%b\n" % line for line in odd) + b'{"items": "last"}'
    )

    ranges = read(tmp_path / "a.jsonl")

    assert text_of(ranges) == b"first\n" + b"\n" * len(odd) + b"last\n"
    assert row_counts(counts_of(ranges)) == Counter(filter(None, odd.values()))


def random_line(rng):
    odd = ["null", '{"c":null}', '{"c":"s t"}', '{"d":1}', "[1]", '{"c":[1,2]}', '{"c":[null,"a"]}', '{"c":[]}', "",
           '{"c":["a"]} ', '{"c":["a"]},{"c":["b"]}', '{"c":[true]}', ' {"c":["z"]}', '{"c":{"a":1}}']  # fmt: skip
    if rng.random() < 0.1:
        return rng.choice(odd).encode()
    strange = ["", "b c", " ", "\t", "x\0", "é", "\ud800", "\n"]
    tokens = [rng.choice(strange if rng.random() < 0.1 else ["a", "b"]) for _ in range(rng.randrange(4))]
    return json.dumps({"c": tokens}).encode()


def test_lines_that_are_read_together_have_the_text_of_each():
    rng, table = random.Random(0), Table("jsonl", "c", True)
    for _ in range(2000):
        rows = [random_line(rng) for _ in range(rng.randrange(1, 4))]
        counts, expected = Counter(), Counter()

        text = b"".join(json_lines.rows_text("", [b"".join(row + b"\n" for row in rows)], table, counts))

        assert text == b"".join(json_lines._text("", row, table, expected) + b"\n" for row in rows)
        assert counts == expected


def test_bytes_of_json_that_are_no_utf8_are_mended_as_in_text(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"items": ["a\xff", "\\ud800b", "c"]}\n')

    ranges = read(tmp_path / "a.jsonl")

    assert text_of(ranges) == "a\ufffd \ufffdb c\n".encode()
    assert counts_of(ranges)["lines_invalid_utf8"] == 1


def test_a_line_of_json_that_is_too_long_is_left_out(monkeypatch):
    monkeypatch.setattr(json_lines, "MAX_ROW_BYTES", 100)
    rows = [b'{"items": ["%b"]}' % (b"x" * size) for size in (10, 300, 20, 500)]
    data = b"\n".join(rows)
    for step in (1, 7, 64, 1000):
        counts = Counter()
        chunks = [data[start : start + step] for start in range(0, len(data), step)]

        text = b"".join(json_lines.rows_text("", chunks, Table("jsonl", "items", True), counts))

        if step < 200:  # a longer line that has come as a whole is read
            assert text == b"x" * 10 + b"\n\n" + b"x" * 20 + b"\n\n"
            assert counts == {"rows_too_long": 2}


# Which files are what


@pytest.mark.parametrize(
    ("input_format", "name", "kind"),
    [
        ("auto", "a.parquet", "parquet"), ("auto", "A.PARQUET", "parquet"), ("auto", "a.snappy.parquet", "parquet"),
        ("auto", "a.jsonl", "jsonl"), ("auto", "a.ndjson.gz", "jsonl"), ("auto", "a.json", None), ("auto", "a", None),
        ("auto", "a.parquet.txt", None), ("auto", "a.txt.zst", None), ("jsonl", "a.json", "jsonl"),
        ("parquet", "part-0", "parquet"), ("text", "a.jsonl", None),
    ],
)  # fmt: skip
def test_the_format_of_a_file_is_given_or_told_by_its_name(input_format, name, kind):
    table = Source(input_format, "c").table(f"/x/{name}")

    assert (table and table.format) == kind


def spark_folder(folder, day, rows):
    """What Spark leaves in a folder of a table."""
    write_parquet(folder / f"day={day}" / "part-0.snappy.parquet", rows)
    for name in ("_SUCCESS", ".part-0.snappy.parquet.crc", "_metadata", "_started_1", ".x/part-1.parquet"):
        (folder / f"day={day}" / name).parent.mkdir(exist_ok=True)
        (folder / f"day={day}" / name).write_bytes(b"PAR1 no rows")
    write_parquet(folder / f"day={day}" / "_partition=1" / "part-0.parquet", [["deep"]])


def test_what_spark_leaves_beside_the_data_is_left_out(tmp_path):
    for day in range(3):
        spark_folder(tmp_path, day, [[f"day{day}"]])
    write_parquet(tmp_path / "empty.parquet", [])
    (tmp_path / "nothing.parquet").write_bytes(b"")
    patterns = (str(tmp_path / "**"),)
    check_tables(PipelineConfig(input=patterns, output="x", column="items", tokenizer="whitespace"))
    by_shell = tuple(str(path) for path in sorted(tmp_path.glob("*/*")) if path.is_file())  # a pattern without quotes
    check_tables(PipelineConfig(input=by_shell, output="x", column="items", tokenizer="whitespace"))

    found = text_files(patterns, SOURCE)
    (group,) = files.group_ranges(found.items(), f"{tmp_path}/", SOURCE)

    assert text_of([list(files.read_range(group))]) == b"deep\nday0\ndeep\nday1\ndeep\nday2\n"
    assert not any(Source().leaves_out(name) for name in ("_SUCCESS", ".a/b.txt"))  # as text, all are read


def test_small_files_of_each_kind_are_grouped_apart(tmp_path):
    names = ["a.jsonl", "b.parquet", "c.txt", "d.jsonl", "e.parquet"]
    for name in names:
        {"jsonl": write_json, "parquet": write_parquet, "txt": lambda path, _: path.write_text(f"{path.name}\n")}[
            name.rpartition(".")[2]
        ](tmp_path / name, [[name], None])
    found = [(str(tmp_path / name), (tmp_path / name).stat().st_size) for name in reversed(names)]

    groups = list(files.group_ranges(found, f"{tmp_path}/", SOURCE))

    texts = [text_of([list(files.read_range(group))]) for group in groups]
    assert texts == [b"a.jsonl\n\nd.jsonl\n\n", b"b.parquet\n\ne.parquet\n\n", b"c.txt\n"]
    assert counts_of([list(files.read_range(groups[1]))])["rows_null"] == 2


# Mistakes


def config_of(tmp_path, pattern, **settings):
    return PipelineConfig(input=(str(tmp_path / pattern),), output="x", **{"tokenizer": "whitespace", **settings})


@pytest.mark.parametrize(
    ("pattern", "settings", "message"),
    [
        ("a.parquet", {}, r"--input .*/a\.parquet is parquet: expected --column with the name of the one to read$"),
        ("*", {}, r"--input .*/a\.(parquet|jsonl) is .*: expected --column"),  # also beside the files of Spark
        ("a.txt", {"input_format": "parquet"}, r"--input .*/a\.txt is parquet: expected --column"),
        ("a.jsonl", {}, r"--input .*/a\.jsonl is jsonl: expected --column .*, or --input_format text$"),
        ("a.txt", {"column": "x"}, r"--column x: all files of --input are text by their names: expected \*\.parquet"),
        ("a.parquet", {"column": "x"}, r"--column x: --input .* has the columns id, items, items\.b: expected one of"),
        ("a.jsonl", {"column": "x"}, r"--column x: --input .* has the columns id, items: expected one of these$"),
        ("a.jsonl", {"column": "id"}, r"--column id: --input .* has values such as 0 there: expected strings"),
        ("a.parquet", {"column": "id"}, r"--column id: --input .* has values of type int64 there: expected strings"),
        ("a.parquet", {"column": "items", "tokenizer": "simple"}, "has lists of tokens .* --tokenizer whitespace"),
        ("a.jsonl", {"column": "items", "tokenizer": "simple"}, "has lists of tokens .* --tokenizer whitespace"),
        ("a.txt", {"column": "x", "input_format": "jsonl"}, r"begins with b'plain': expected JSON lines"),
        ("a.txt", {"column": "x", "input_format": "parquet"}, r"a\.txt cannot be read: .*[Pp]arquet"),
        ("_b.*", {"column": "items"}, r"--input .*_b\.\*: the names of all files, or of their folders, begin"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_before_the_job(tmp_path, pattern, settings, message):
    write_parquet(tmp_path / "a.parquet", [["a"]])
    write_parquet(tmp_path / "_b.parquet", [["a"]])
    write_json(tmp_path / "a.jsonl", [["a"], None])
    (tmp_path / "a.txt").write_text("plain\ntext\n")

    with pytest.raises(UserError, match=message) as raised:
        check_tables(config_of(tmp_path, pattern, **settings))
    assert "\n" not in str(raised.value)


def test_text_has_no_column(tmp_path):
    with pytest.raises(UserError, match="--column c: expected no column, because --input_format is text"):
        config_of(tmp_path, "a", input_format="text", column="c")


def test_a_parquet_file_under_another_name_says_which_flag_helps(tmp_path):
    path = write_parquet(tmp_path / "part-0", [["a"]])

    with pytest.raises(UserError, match="begins as .parquet files do: expected plain text, or --input_format parquet"):
        read(path, Source())


@pytest.mark.parametrize("damage", ["middle", "end"])
def test_a_damaged_parquet_file_is_named(tmp_path, damage):
    rows = [[f"word{i}", f"{i * i}"] for i in range(20_000)]
    path = write_parquet(tmp_path / "a.parquet", rows, compression="zstd")
    data = bytearray(path.read_bytes())
    if damage == "end":
        del data[-50:]
    else:
        place = len(data) // 2
        data[place : place + 2000] = b"?" * 2000
    path.write_bytes(data)

    with pytest.raises(UserError, match=re.escape(str(path))):
        read(path)
    with pytest.raises(UserError, match=re.escape(str(path))):  # in a group
        list(files.read_range(TextRange(str(path), "a", 0, None, (str(path),), Table("parquet", "items", True))))


# Whole jobs


SESSIONS = Catalogue(num_items=300, num_clusters=10).sessions(3000)


FLAGS = ("--column", "items", "--tokenizer", "whitespace", "--min_count", "3", "--num_shards", "3")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same sessions as JSON lines and as Parquet, in three files each, with a null at the end of each file."""
    folder = tmp_path_factory.mktemp("sessions")
    for number in range(3):
        some = [*SESSIONS[number * 1000 : (number + 1) * 1000], None]
        write_json(folder / f"{number}.jsonl.zst", some)
        write_parquet(folder / f"{number}.parquet", some, row_group_size=300)
    return folder


@pytest.fixture(scope="module")
def run(folders, tmp_path_factory):
    """Makes a dataset of small row groups that are read in parts. Returns its folder and the summary."""

    def run_pattern(pattern, *flags):
        output = tmp_path_factory.mktemp("dataset")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "is_small", lambda size: False)
            patch.setattr(parquet, "_TEXT_OF_PART", 5000)
            patch.setattr(parquet, "TEXT_BLOCK_BYTES", 5000)
            return output, run_here("--input", folders / pattern, "--output", output, *FLAGS, *flags)

    return run_pattern


@pytest.fixture(scope="module")
def of_parquet(run):
    return run("*.parquet")


def test_a_dataset_of_tables_is_that_of_their_sessions(run, of_parquet):
    words = Counter(word.encode() for session in SESSIONS for word in session)
    expected = {word: count for word, count in words.items() if count >= 3}
    for dataset, summary in (of_parquet, run("*.jsonl.*")):
        manifest = read_manifest(dataset)
        assert dict(read_vocabulary(dataset)[2:]) == expected
        assert (manifest["num_words"], manifest["num_lines"]) == (words.total(), 3003)
        assert manifest["counters"]["rows_null"] == 3 and "3 rows_null" in summary
        assert (manifest["config"]["input_format"], manifest["config"]["column"]) == ("auto", "items")


def test_workers_do_not_change_the_bytes(run, of_parquet):
    several, _ = run("*.parquet", "--direct_num_workers", "2", "--direct_running_mode", "multi_threading")

    assert shard_contents(several) == shard_contents(of_parquet[0])
    assert all(shard["skip_grams"] for shard in read_manifest(several)["shards"])


def test_a_plan_of_tables_tells_what_the_job_made(folders, tmp_path):
    config = PipelineConfig(
        input=(str(folders / "*.parquet"),), output=str(tmp_path), column="items", tokenizer="whitespace", min_count=1
    )

    whole, part = estimate(config, 1.0), estimate(config, 0.3)

    assert whole.words == sum(map(len, SESSIONS))
    assert whole.lines == 3003
    assert part.words == pytest.approx(whole.words, rel=0.1)
    assert part.sample_bytes == pytest.approx(0.3 * part.text_bytes, rel=0.5)
    of_json = estimate(PipelineConfig(**{**vars(config), "input": (str(folders / "*.jsonl.*"),)}), 1.0)
    assert of_json.words == whole.words
