"""Plans are compared with the runs that they predict."""

import bz2
import dataclasses
import gzip
import lzma
import re
from collections import Counter

import numpy as np
import pytest

from pipeline import options
from pipeline.config import PipelineConfig
from pipeline.errors import UserError
from pipeline.job import runner
from pipeline.plan.estimate import Plan, estimate
from pipeline.plan.memory import devices_needed, tables_bytes, trainer_bytes
from pipeline.plan.report import report
from pipeline.plan.sample import read_pieces, text_files
from tests.pipeline.helpers import ROOT, command, contents, random_text, read_manifest, write_files

ENGLISH = ROOT.parent / "shared" / "data" / "english-dev.txt.xz"


def config_of(folder, **settings):
    return PipelineConfig(input=(str(folder / "*"),), output=str(folder.parent / "dataset"), **settings)


def numbered_lines(name, number):
    return b"".join(b"%s line %d\n" % (name, i) for i in range(number))


# The sample


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Plain and compressed files, one of them with several members, in which each line occurs once."""
    folder = tmp_path_factory.mktemp("numbered")
    files = {
        name: numbered_lines(name.encode(), 20_000) for name in ("a.txt", "b.gz", "c.bz2", "d.txt", "e.xz", "f.zst")
    }
    write_files(folder, {**files, "empty.txt": b"", "tiny.txt": b"tiny line 0\n"})
    members = [gzip.compress(numbered_lines(b"member%d" % i, 10)) for i in range(3)]
    (folder / "members.gz").write_bytes(b"".join(members))
    return folder


def sampled(folder, share, offset):
    pieces = list(read_pieces(text_files([str(folder / "*")]), share, offset))
    return [line for piece in pieces for line in piece.lines if line], sum(piece.bytes for piece in pieces)


def test_a_share_of_one_is_every_line_once(numbered):
    lines, num_bytes = sampled(numbered, 1.0, 0.7)

    expected = Counter([b"tiny line 0"])
    for name in (b"a.txt", b"b.gz", b"c.bz2", b"d.txt", b"e.xz", b"f.zst"):
        expected.update(numbered_lines(name, 20_000).splitlines())
    for i in range(3):
        expected.update(numbered_lines(b"member%d" % i, 10).splitlines())
    assert Counter(lines) == expected
    assert num_bytes == sum(path.stat().st_size for path in numbered.iterdir())


def test_a_share_is_whole_lines_from_all_over_the_text(tmp_path):
    text = numbered_lines(b"a", 100_000)
    write_files(tmp_path, {"a.txt": text, "b.txt": text.replace(b"a", b"b")})

    for offset in np.linspace(0, 0.99, 7):
        lines, num_bytes = sampled(tmp_path, 0.1, offset)

        assert 0.08 < num_bytes / (2 * len(text)) < 0.12
        assert num_bytes == sum(len(line) + 1 for line in lines)
        assert len(set(lines)) == len(lines)
        assert set(lines) <= set(text.splitlines()) | set(text.replace(b"a", b"b").splitlines())
        assert len({(line[:1], int(line.split()[-1]) // 20_000) for line in lines}) == 10


def test_of_a_compressed_file_the_beginning_is_read(tmp_path):
    rng = np.random.default_rng(1)
    text = b"\n".join(b"%d" % n for n in rng.integers(0, 2**62, 400_000))
    for name, compress in (("a.gz", gzip.compress), ("b.bz2", bz2.compress)):
        path = tmp_path / name
        path.write_bytes(compress(text))
        assert path.stat().st_size > 2.5 * 2**20
        lines, num_bytes = sampled(tmp_path, 0.3, 0.9)
        path.unlink()

        assert 2**20 <= num_bytes < 1.5 * 2**20
        assert len(lines) == pytest.approx(400_000 * num_bytes / len(compress(text)), rel=0.25)
        assert lines[:-1] == text.split(b"\n")[: len(lines) - 1]


def test_a_damaged_file_and_one_that_is_no_text_are_named(tmp_path):
    for name, data in (("a.gz", b"plain"), ("b.zip", b"PK"), ("c.txt", b"\x1f\x8b plain")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=name):
            sampled(tmp_path, 1.0, 0)
        (tmp_path / name).unlink()


# The estimates


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"passes": 2, "window_size": 2, "compression": "gzip", "min_count": 1},
        {"vocab_size": 500},
        {"example_format": "pairs", "oov": "unk", "vocab_size": 300, "subsampling": "zipf", "subsample": 1e-3},
        {"subsample": 0, "sequence_length": 7, "no_shrink_windows": True},
    ],
)
def test_a_plan_from_the_whole_text_is_what_a_run_makes(tmp_path, settings):
    write_files(tmp_path / "text", {"a.txt": random_text(1, 400_000, 3000), "b.gz": random_text(2, 100_000, 5000)})
    settings = {"shrink_windows": not settings.pop("no_shrink_windows", False), **settings}
    config = config_of(tmp_path / "text", num_shards=2, **settings)

    planned = estimate(config, 1.0)
    runner.run(config, [])

    manifest = read_manifest(tmp_path / "dataset")
    assert planned.vocab_size == manifest["vocab_size"]
    assert planned.words == manifest["num_words"]
    assert planned.lines == manifest["num_lines"]
    assert planned.words_known == manifest["num_words"] - manifest["counters"]["words_oov"] / config.passes
    assert planned.tokens == pytest.approx(manifest["num_tokens"], rel=0.01)
    assert planned.skip_grams == pytest.approx(manifest["num_skip_grams"], rel=0.02)
    assert planned.shard_bytes == pytest.approx(sum(shard["bytes"] for shard in manifest["shards"]), rel=0.02)
    assert planned.vocabulary_bytes == pytest.approx((tmp_path / "dataset" / "vocabulary.tsv").stat().st_size, rel=0.05)


def test_held_out_lines_are_planned_apart(tmp_path):
    write_files(tmp_path / "text", {"a.txt": random_text(1, 100_000, 3000)})
    config = config_of(tmp_path / "text", holdout=0.2)

    planned, whole = estimate(config, 1.0), estimate(dataclasses.replace(config, holdout=0), 1.0)

    assert planned.lines + planned.holdout_lines == whole.lines
    assert planned.words + planned.holdout_words == whole.words
    assert planned.holdout_lines == pytest.approx(0.2 * whole.lines, rel=0.2)
    assert planned.holdout_bytes == 4 * (planned.holdout_lines + planned.holdout_words)
    assert f"held out    {planned.holdout_lines:,} lines, {planned.holdout_words:,} words\n" in report(planned, config)
    assert "held out" not in report(whole, config)


@pytest.mark.skipif(not ENGLISH.exists(), reason=f"{ENGLISH.name} is not beside this checkout")
def test_a_twentieth_of_english_foretells_the_rest(tmp_path):
    """The true numbers are those of the manifest of `python -m pipeline --input english-dev.txt`."""
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "english.txt").write_bytes(lzma.decompress(ENGLISH.read_bytes()))

    for seed in (1, 2):
        planned = estimate(config_of(tmp_path / "text", seed=seed), 0.05)

        assert planned.sample_bytes == pytest.approx(0.05 * planned.text_bytes, rel=0.05)
        assert planned.vocab_size == pytest.approx(64_124, rel=0.25)
        for planned_number, truth in (
            (planned.lines, 1_069_742), (planned.words, 8_965_418), (planned.tokens, 6_558_367),
            (planned.skip_grams, 41_842_350), (planned.shard_bytes, 67_944_442),
        ):  # fmt: skip
            assert planned_number == pytest.approx(truth, rel=0.15)


def test_a_plan_is_the_same_each_time_but_for_its_seconds(tmp_path):
    write_files(tmp_path / "text", {"a.txt": random_text(3, 3_000_000, 3000)})
    plans = [estimate(config_of(tmp_path / "text", seed=seed)) for seed in (1, 1, 2)]

    without_seconds = [{k: v for k, v in vars(p).items() if not k.endswith("seconds")} for p in plans]
    assert without_seconds[0] == without_seconds[1] != without_seconds[2]
    assert 2**20 <= plans[0].sample_bytes < 1.1 * 2**20
    assert all(p.vocabulary_seconds > 0 and p.examples_seconds > 0 for p in plans)


# The trainer's memory


@pytest.mark.parametrize(
    ("vocab_size", "embedding_dim", "expected"),
    [
        (100_000, 128, 100_000 * (2 * 128 * 4 + 8)),
        (100_000, 300, 100_000 * (2 * 300 * 4 + 8)),
        (300_000_000, 300, 722_400_000_000),
        (300_000_000, 4, 12_000_000_000),  # the share of one of 75 devices
    ],
)
def test_two_tables_and_a_number_for_each_of_their_rows(vocab_size, embedding_dim, expected):
    assert tables_bytes(vocab_size, embedding_dim) == expected
    assert trainer_bytes(vocab_size, embedding_dim) == expected + 400 * vocab_size + 10**9


GPU_GIGABYTES = (16, 24, 40, 80)
LARGEST_VOCABULARY = 2**31


@pytest.mark.parametrize(
    ("vocab_size", "embedding_dim", "expected"),  # for GPUs of 16, 24, 40 and 80 GB
    [
        (2, 1, (1, 1, 1, 1)),
        (100_000, 300, (1, 1, 1, 1)),
        (12_209_302, 128, (1, 1, 1, 1)),  # 12.6 GB / (129 x 8 bytes) = 12,209,302.3 rows
        (12_209_303, 128, (2, 1, 1, 1)),
        (30_000_000, 128, (3, 2, 1, 1)),
        (30_000_000, 300, (6, 4, 3, 2)),
        (100_000_000, 128, (10, 6, 4, 2)),
        (300_000_000, 128, (32, 19, 11, 5)),
        (300_000_000, 300, (75, 43, 25, 12)),  # rows of 4, 7, 12 and 26 columns fit
        (787_500_000, 300, (300, 150, 75, 34)),  # 12.6 GB / (2 x 8 bytes) rows: one column fits
        (787_500_001, 300, (None, 150, 75, 34)),
        (LARGEST_VOCABULARY, 1, (None, None, None, 1)),
        (LARGEST_VOCABULARY, 300, (None, None, None, 150)),
        (10**10, 300, (None, None, None, None)),
    ],
)
def test_how_many_devices_hold_the_tables(vocab_size, embedding_dim, expected):
    assert tuple(devices_needed(vocab_size, embedding_dim, size * 10**9) for size in GPU_GIGABYTES) == expected


@pytest.mark.parametrize("gigabytes", GPU_GIGABYTES)
@pytest.mark.parametrize("embedding_dim", [1, 2, 100, 128, 300, 1000])
def test_one_device_less_would_not_do(embedding_dim, gigabytes):
    """The widest share of the columns must fit into the GPU less the reserved share of 15 % and 1 GB for a step."""
    room = gigabytes * 10**9 * 0.85 - 10**9
    for vocab_size in (1000, 5_000_000, 77_777_777, 300_000_000, 900_000_000, LARGEST_VOCABULARY):
        numbers = range(1, embedding_dim + 1)
        enough = [n for n in numbers if tables_bytes(vocab_size, -(-embedding_dim // n)) <= room]

        assert devices_needed(vocab_size, embedding_dim, gigabytes * 10**9) == min(enough, default=None)


# The command


def test_the_command_prints_a_plan_and_writes_nothing(tmp_path):
    write_files(tmp_path / "text", {"a.txt": random_text(4, 200_000)})
    arguments = ["--input", tmp_path / "text" / "*", "--output", tmp_path / "dataset", "--num_shards", "3"]

    done = command("--plan", *arguments)

    assert (done.returncode, done.stderr) == (0, "")
    names = [line[:12].rstrip() for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert names == [
        "text", "lines", "words", "vocabulary", "tokens kept", "skip-grams", "dataset", "trainer", "GPUs", "workers"
    ]  # fmt: skip
    assert "of tables with 300 dimensions: 1 GPU of 16 GB or more holds them" in done.stdout
    assert "300 words, 100.0% of the text" in done.stdout
    assert contents(tmp_path).keys() == {"text/a.txt"} and not (tmp_path / "dataset").exists()


def large_plan(shard_bytes):
    return Plan(
        text_bytes=10**14, sample_bytes=64 * 2**20, lines=10**12, words=17 * 10**12, vocab_size=10**8,
        words_known=16 * 10**12, tokens=12 * 10**12, skip_grams=78 * 10**12, shard_bytes=shard_bytes,
        vocabulary_bytes=10**9, vocabulary_seconds=5e6, examples_seconds=6e6,
    )  # fmt: skip


def test_large_shards_are_advised_against():
    config = PipelineConfig(input=("a",), output="b", num_shards=4)

    text = report(large_plan(2**40), config)

    assert "--num_shards 4096 would make shards of 268 MB" in text
    assert "write at once, and take 417 h at least" in text
    assert "3,056 h of one core like this one: 1,389 h to count words, 1,667 h to write examples" in text


@pytest.mark.parametrize(
    ("vocab_size", "expected"),
    [
        (100_000, ["1 GPU of 16 GB or more holds them", "1 GPU of 16 GB or more holds them"]),
        (
            30_000_000,
            [
                "3 GPUs of 16 GB hold them, or 2 of 24 GB, or 1 of 40 GB",
                "6 GPUs of 16 GB hold them, or 4 of 24 GB, or 3 of 40 GB, or 2 of 80 GB",
            ],
        ),
        (
            1_000_000_000,
            [
                "128 GPUs of 24 GB hold them, or 43 of 40 GB, or 19 of 80 GB; "
                "GPUs of 16 GB or less cannot hold them, however many there are",
                "300 GPUs of 24 GB hold them, or 100 of 40 GB, or 43 of 80 GB; "
                "GPUs of 16 GB or less cannot hold them, however many there are",
            ],
        ),
        (10**10, ["GPUs of 80 GB or less cannot hold them, however many there are"] * 2),
    ],
)
def test_the_plan_says_how_many_gpus_hold_the_tables(vocab_size, expected):
    config = PipelineConfig(input=("a",), output="b")
    plan = dataclasses.replace(large_plan(2**30), vocab_size=vocab_size)

    found = re.findall(r"of tables with (?:128|300) dimensions: (.*)", report(plan, config))

    assert found == expected


def test_more_shards_than_are_allowed_are_not_advised():
    config = PipelineConfig(input=("a",), output="b", num_shards=4)
    highest = dataclasses.replace(config, num_shards=99_999)

    assert "--num_shards 99999 (the highest number) would make shards of 1.41 GB" in report(large_plan(2**47), config)
    assert report(large_plan(2**47), highest).splitlines()[-1].strip() == (
        "--num_shards 99999 is the highest number of shards, so they cannot be smaller"
    )


@pytest.mark.parametrize("num_shards", [1, 3, 99_998])
@pytest.mark.parametrize("shard_bytes", [10**exponent for exponent in range(9, 17)])  # 1 GB to 10 PB
def test_the_advice_can_be_followed(shard_bytes, num_shards):
    config = PipelineConfig(input=("a",), output="b", num_shards=num_shards)

    advice = re.findall(r"--num_shards \d+", report(large_plan(shard_bytes), config))

    if shard_bytes / num_shards <= 2**28:
        assert advice == []
    else:
        (flag,) = advice
        advised = options.parse(["--input", "a", "--output", "b", *flag.split()]).config
        assert advised.num_shards > num_shards
        assert shard_bytes / advised.num_shards <= 2**28 or advised.num_shards == 99_999


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        (b"\n.\n", [], "--input holds no words in the sample"),
        (b"a b c\n", [], "--min_count 5 leaves no word"),
        (b"a\nb\n", ["--min_count=1"], "--input gives no skip-gram in the sample"),
    ],
)
def test_text_without_words_is_told_in_one_line(tmp_path, text, flags, message):
    write_files(tmp_path / "text", {"a.txt": text})

    arguments = options.parse(["--plan", "--input", f"{tmp_path}/text/*", "--output", f"{tmp_path}/dataset", *flags])
    with pytest.raises(UserError, match=f"^{message}") as raised:
        estimate(arguments.config)

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("share", ["0", "-1", "1.1", "5%", "nan", "inf"])
def test_a_share_must_be_one(share):
    with pytest.raises(UserError, match=f"--plan: {share}: expected a share"):
        options.parse(["--input", "a", "--output", "b", f"--plan={share}"])


def test_a_plan_is_made_only_if_it_is_asked_for():
    def parsed(*argv):
        arguments = options.parse(["--input", "a", "--output", "b", *argv])
        return arguments.plan, arguments.plan_share

    assert parsed() == (False, None)
    assert parsed("--plan") == (True, None)
    assert parsed("--plan", "0.2") == (True, 0.2)
