"""`python -m pipeline.inspect` answers questions about a dataset. An oracle counts in the records itself."""

import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspect import main
from pipeline.inspection import occurrences, word_facts
from pipeline.inspection.opened import OpenDataset, open_dataset
from tests.contract.make import FOLDER
from tests.pipeline.helpers import deterministic, flatten, read_manifest, read_off, read_records, read_vocabulary

FORMATS = ["blocks", "pairs"]


def ask(capsys, *args):
    """The exit code, and both outputs."""
    code = main([*map(str, args)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def answers(capsys, *args):
    code, out, err = ask(capsys, *args, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def skip_grams_of(folder, example):
    """All (target, context) of an example, and its negative samples."""
    manifest = read_manifest(folder)
    if manifest["example_format"] == "blocks":
        return read_off(example, manifest["window_size"]), example["negatives"]
    context, *negatives = example["context"]
    return [(example["target"], context)], negatives


# Where a word is


@pytest.mark.parametrize("example_format", FORMATS)
def test_every_word_is_found_where_it_is(example_format):
    folder = FOLDER / example_format
    dataset = open_dataset(str(folder))
    shards, names = read_records(folder), [shard["name"] for shard in read_manifest(folder)["shards"]]

    for number, (word, _) in enumerate(read_vocabulary(folder)):
        found = dataclasses.asdict(occurrences.find(dataset, word.decode(), 1000))

        expected = {}
        for name, records in zip(names, shards, strict=True):
            for record in records:
                parts = [skip_grams_of(folder, example) for example in record]
                pairs = flatten([pairs for pairs, _ in parts])
                counts = [
                    sum(target == number for target, _ in pairs),
                    sum(context == number for _, context in pairs),
                    flatten([list(negatives) for _, negatives in parts]).count(number),
                ]
                if any(counts):
                    before = expected.get(name, [0, 0, 0, 0])
                    expected[name] = [a + b for a, b in zip(before, [1, *counts], strict=True)]
        assert found["id"] == number
        assert {name: list(each.values()) for name, each in found["shards"].items()} == expected
        assert list(found["total"].values()) == np.sum([*expected.values(), [0] * 4], axis=0).tolist()
        total = sum(len(each["text"].split(": ")[1].split()) - 1 for each in found["examples"])
        if example_format == "blocks":
            assert total == found["total"]["as_target"]  # each line shows all skip-grams of a target
        else:
            assert len(found["examples"]) == found["total"]["as_target"]


def test_examples_stop_at_the_limit(capsys):
    code, out, err = ask(capsys, FOLDER / "blocks", "--skip_grams", "fox", "--limit", 2)

    assert (code, err) == (0, "")
    assert out.startswith("fox\n  target      of ")
    places = [line for line in out.splitlines() if ", record 1: fox: " in line]
    assert len(places) == 2 and all(" _" in line for line in places)
    assert ask(capsys, FOLDER / "blocks", "--skip_grams", "fox", "--limit", 0)[1].count("record 1:") == 0


def test_a_pair_is_told_with_its_negatives(capsys):
    (example,) = answers(capsys, FOLDER / "pairs", "--skip_grams", "fox", "--limit", 1)["skip_grams"]["examples"]
    assert example["text"].startswith("fox: ") and ", and not " in example["text"]
    assert example["text"].count(", ") == 3 and example["shard"].endswith(".tfrecord.gz")


def test_a_word_without_skip_grams_is_told_as_such(capsys):
    code, out, _ = ask(capsys, FOLDER / "blocks", "--skip_grams", "[PAD]")
    assert code == 0 and out.splitlines()[1:] == [
        "  target      of 0 skip-grams",
        "  context     of 0 skip-grams",
        "  negative    0 times, each for all targets of a block",
        "  records     0 in 0 shards",
    ]


# The vocabulary


@pytest.mark.parametrize("name", ["blocks", "pairs", "holdout", "phrases"])
def test_the_head_of_the_vocabulary(name, capsys):
    rows = read_vocabulary(FOLDER / name)
    total, known = sum(count for _, count in rows), 0

    head = answers(capsys, FOLDER / name, "--vocabulary", 7)["vocabulary"]

    assert len(head) == 7
    for number, row in enumerate(head):
        token, count = rows[number]
        known += count if number > 1 else 0
        assert (row["id"], row["word"], row["count"]) == (number, token.decode(), count)
        assert (row["share"], row["cumulative_share"]) == pytest.approx((count / total, known / total))
    assert len(answers(capsys, FOLDER / name, "--vocabulary", 10_000)["vocabulary"]) == len(rows)


def test_the_head_of_the_vocabulary_as_text(capsys):
    code, out, _ = ask(capsys, FOLDER / "blocks", "--vocabulary", 3)
    (_, (unknown, unknown_count), (word, count), *_) = read_vocabulary(FOLDER / "blocks")
    heading, pad, unk, first = (line.split() for line in out.splitlines())
    assert code == 0 and heading == ["id", "count", "share", "so", "far", "word"]
    assert pad == ["0", "0", "0.0", "%", "0.0", "%", "[PAD]"]
    assert (unk[1], unk[-1], first[1], first[-1]) == (str(unknown_count), unknown.decode(), str(count), word.decode())


def test_facts_about_words(capsys):
    """The formulas of subsampling and of negative samples, written anew."""
    rows = dict(read_vocabulary(FOLDER / "blocks"))
    total, known = sum(rows.values()), {word: count for word, count in rows.items() if not word.startswith(b"[")}
    words = [word.decode() for word in known]

    found = answers(capsys, FOLDER / "blocks", "--word", *words)["words"]

    weights = sum(count**0.75 for count in known.values())
    for number, (word, count) in enumerate(known.items()):
        ratio = 0.02 * sum(known.values()) / count
        assert found[number] == {
            "word": word.decode(), "id": number + 2, "like": [], "count": count, "rank": number + 1,
            "share": pytest.approx(count / total), "keep_probability": pytest.approx(min(1, ratio**0.5 + ratio)),
            "target_probability": 1.0, "negative_probability": pytest.approx(count**0.75 / weights),
        }  # fmt: skip


def test_facts_of_the_tutorials_preset(capsys):
    """There, subsampling and negative samples go by the rank alone, and unknown words are one word."""
    words = [token.decode() for token, _ in read_vocabulary(FOLDER / "pairs")]
    found = answers(capsys, FOLDER / "pairs", "--word", *words)["words"]

    weights = [0.0, *(np.log((k + 2) / (k + 1)) for k in range(1, len(words)))]
    assert [each["negative_probability"] for each in found] == pytest.approx(np.array(weights) / sum(weights))
    assert [each["keep_probability"] for each in found] == [0.0] + [1.0] * (len(words) - 1)
    assert found[2]["target_probability"] < found[-1]["target_probability"] < 1
    assert [each["rank"] for each in found[:3]] == [0, 0, 1]


def test_ranks_where_ids_are_not_in_the_order_of_counts():
    """As in a vocabulary that was given."""
    golden = open_dataset(str(FOLDER / "blocks"))
    counts = np.array([0, 3, 5, 9, 5, 0, 9], np.int64)
    dataset = golden._replace(words=["[PAD]", "[UNK]", "a", "b", "c", "d", "e"], counts=counts)
    found = word_facts.facts(dataset, ["a", "b", "c", "d", "e"])
    assert [each.rank for each in found] == [3, 1, 4, 5, 2]
    assert found[3].negative_probability == 0


def test_words_that_are_unknown(capsys):
    folder = FOLDER / "blocks"
    found = answers(capsys, folder, "--word", "FOX", "foxs", "quite unlike", "fox")["words"]
    assert [(each["id"] is None, each["like"][:1]) for each in found] == [
        (True, ["fox"]), (True, ["fox"]), (True, []), (False, [])
    ]  # fmt: skip

    code, out, _ = ask(capsys, folder, "--word", "FOX")
    assert code == 0 and out.startswith("FOX: not in the vocabulary; spelled like it are fox")
    code, out, err = ask(capsys, folder, "--skip_grams", "FOX")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"--skip_grams FOX is not in the vocabulary of {folder}: expected a word of it, such as fox" in err


# Coverage


@deterministic
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(0, 50))
def test_coverage(counts, unknown):
    golden = open_dataset_once()
    words = [f"w{number}" for number in range(len(counts) + 2)]
    found = word_facts.coverage(golden._replace(words=words, counts=np.array([0, unknown, *counts], np.int64)))

    falling, total = sorted(counts, reverse=True), max(1, sum(counts) + unknown)
    covers = [*found.by_size, *found.by_share, *found.by_min_count]
    for each in covers:
        assert each.share == pytest.approx(sum(falling[: each.words]) / total)
    for each in [*found.by_size, *found.by_share]:
        assert each.min_count == falling[each.words - 1]
    assert [each.words for each in found.by_size] == [n for n in (10, 100) if n < len(counts)] + [len(counts)]
    for each in found.by_min_count:
        assert each.words == sum(count >= each.min_count for count in counts) and each.min_count > falling[-1]
    reached = {
        next(n for n in range(1, len(counts) + 1) if sum(falling[:n]) >= share * total)
        for share in (0.5, 0.8, 0.9, 0.95, 0.99)
        if sum(falling) >= share * total and total > 1
    }
    assert total == 1 or [each.words for each in found.by_share] == sorted(reached)
    assert (found.text_words, found.vocabulary_words) == (total, len(counts))
    assert found.unknown_share == pytest.approx(unknown / total)


@functools.cache
def open_dataset_once() -> OpenDataset:
    return open_dataset(str(FOLDER / "blocks"))


def test_coverage_as_text(capsys):
    code, out, _ = ask(capsys, FOLDER / "blocks", "--coverage")
    assert code == 0
    assert out.startswith("text        ") and "\n\n" in out and "--min_count  words" in out


# All of it


@pytest.mark.parametrize("name", ["blocks", "pairs", "holdout", "phrases"])
def test_several_questions_at_once_and_the_overview(name, capsys):
    folder = FOLDER / name
    manifest = read_manifest(folder)

    told = answers(capsys, folder, "--vocabulary", 1, "--word", "fox", "--coverage", "--skip_grams", "fox")
    assert list(told) == ["vocabulary", "words", "coverage", "skip_grams"]
    told = answers(capsys, folder, "--examples", 2)
    assert list(told) == ["examples", *(["held_out"] if manifest["holdout"] else []), "overview"]
    assert len(told["examples"]) == 2
    overview = told["overview"]
    assert overview["skip_grams"] == manifest["num_skip_grams"] and overview["shards"] == len(manifest["shards"])
    assert overview["settings"]["window_size"] == manifest["window_size"]
    assert list(answers(capsys, folder, "--coverage", "--examples", 1)) == [
        "coverage", "examples", *(["held_out"] if manifest["holdout"] else [])
    ]  # fmt: skip

    code, out, err = ask(capsys, folder)
    assert (code, err) == (0, "") and out.splitlines()[-1].startswith("ask also    --vocabulary 20")


@pytest.mark.parametrize("version", [2, 3, 4])
def test_older_datasets_are_understood(version, tmp_path, capsys):
    for example_format in FORMATS:
        copy = shutil.copytree(FOLDER / example_format, tmp_path / example_format)
        shutil.copy(FOLDER / f"{example_format}.version{version}.json", copy / "manifest.json")
        now, then = (answers(capsys, folder, "--word", "fox") for folder in (FOLDER / example_format, copy))
        assert now == then
        assert ask(capsys, copy)[0] == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--vocabulary", "0"], "--vocabulary 0: expected 1 or more"),
        (["--vocabulary", "x"], "--vocabulary"),
        (["--limit", "-1"], "--limit -1: expected 0 or more"),
        (["--word"], "--word"),
        (["--word", "\udcff"], "--word '\\udcff' is not UTF-8: expected text in this encoding"),
        (["--skip_grams", ""], "--skip_grams"),
    ],
)
def test_nonsense_is_one_line(args, message, capsys):
    code, out, err = ask(capsys, FOLDER / "blocks", *args)
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err


def test_a_setting_that_is_no_setting_is_named(tmp_path, capsys):
    copy = shutil.copytree(FOLDER / "blocks", tmp_path / "dataset")
    manifest = read_manifest(copy)
    manifest["config"]["ns_exponent"] = "much"
    (copy / "manifest.json").write_text(json.dumps(manifest))

    code, out, err = ask(capsys, copy, "--word", "fox")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"{copy}/manifest.json: config is not as the pipeline writes it: --ns_exponent 'much'" in err
    assert ask(capsys, copy, "--coverage")[0] == 0
