"""Flags: what is of no use is refused in one line that names it, before anything is read or written."""

import argparse
import contextlib
import dataclasses
import io
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import __main__, options
from pipeline.config import PRESETS, PipelineConfig
from pipeline.errors import UserError
from pipeline.job.beam_options import DatasetOptions, option_values
from pipeline.job.preflight import pipeline_options
from tests.pipeline.helpers import command, contents, write_files

REQUIRED = ["--input", "corpus/*.txt", "--output", "dataset"]

NONSENSE = {
    "input": [[], [""], ["a.txt", ""]],
    "output": [[], [""]],
    "overwrite": ["yes", "0"],
    "input_format": ["csv", "JSONL", "", []],
    "column": [[]],
    "tokenizer": ["bert", "Simple", "", []],
    "vocab_size": ["-1", "1", "2", "2147483648", "1.5", "1e6", "many", "", []],
    "vocabulary": [[]],
    "grow_vocabulary": ["yes", "0"],
    "phrases": ["-1", "5", "1.5", "all", "", []],
    "phrase_min_count": ["0", "-1", "2.5", "five", "", []],
    "phrase_threshold": ["-1.1", "2e+18", "nan", "inf", "high", "", []],
    "phrase_scoring": ["pmi", "NPMI", "", []],
    "oov": ["keep", "UNK", "", []],
    "sequence_length": ["-1", "2147483648", "1.5", "ten", "", []],
    "subsampling": ["rank", "", []],
    "negatives": ["uniform", "5", "", []],
    "example_format": ["block", "", []],
    "preset": ["notebook", "", []],
    "min_count": ["0", "-1", "2.5", "five", "", []],
    "subsample": ["-0.001", "1.1", "nan", "inf", "-inf", "1e-3x", "", []],
    "window_size": ["0", "-1", "256", "2.0", "wide", "", []],
    "no_shrink_windows": ["true"],
    "num_negatives": ["0", "-5", "1001", "1.5", "", []],
    "ns_exponent": ["2.1", "-2.1", "nan", "inf", "x", "", []],
    "passes": ["0", "-1", "10001", "all", "", []],
    "block_targets": ["0", "-1", "4097", "64.0", "", []],
    "block_negatives": ["0", "-1", "4097", "64.0", "", []],
    "num_shards": ["0", "-1", "100000", "16.5", "", []],
    "compression": ["zip", "GZIP", "", []],
    "holdout": ["-0.1", "1.1", "nan", "ten", "", []],
    "seed": ["-1", "9223372036854775808", "random", "0.5", "", []],
}


def parse(*argv):
    return options.parse([*REQUIRED, *argv])


def test_every_setting_has_its_nonsense_here():
    flags = {field.name for field in dataclasses.fields(PipelineConfig)}

    assert set(NONSENSE) == flags - {"shrink_windows"} | {"no_shrink_windows", "preset"}


def test_a_preset_sets_what_is_not_given():
    config, *_ = parse("--preset", "tutorial", "--window_size", "7")

    assert (config.window_size, config.vocab_size, config.example_format) == (7, 4096, "pairs")
    assert config == PipelineConfig(
        **{**PRESETS["tutorial"], "window_size": 7, "input": config.input, "output": config.output}
    )
    assert parse("--preset", "word2vec") == parse()


@pytest.mark.parametrize(("flag", "value"), [(flag, value) for flag, values in NONSENSE.items() for value in values])
def test_nonsense_is_refused_with_the_name_of_its_flag(flag, value):
    """A list stands for all that follows the flag."""
    arguments = [f"--{flag}", *value] if isinstance(value, list) else [f"--{flag}={value}"]

    with pytest.raises(UserError, match=rf"--{flag}\b") as raised:
        parse(*arguments)

    message = str(raised.value)
    assert "\n" not in message
    if isinstance(value, str):
        assert value in message


@pytest.mark.parametrize("flag", ["input", "output"])
def test_input_and_output_are_required(flag):
    argv = REQUIRED[2:] if flag == "input" else REQUIRED[:2]

    with pytest.raises(UserError, match=f"required: --{flag}"):
        options.parse(argv)


@pytest.mark.parametrize(
    ("flag", "low", "high"),
    [
        ("vocab_size", 3, 2**31 - 1), ("min_count", 1, 10**9), ("window_size", 1, 255), ("num_negatives", 1, 1000),
        ("passes", 1, 10_000), ("block_targets", 1, 4096), ("block_negatives", 1, 4096), ("num_shards", 1, 99_999),
        ("seed", 0, 2**63 - 1), ("subsample", 0.0, 1.0), ("ns_exponent", -2.0, 2.0), ("phrases", 0, 4),
    ],
)  # fmt: skip
def test_both_ends_of_each_range_are_allowed(flag, low, high):
    for value in (low, high):
        config, *_ = parse(f"--{flag}={value}")

        assert getattr(config, flag) == value


def test_defaults_are_those_of_the_config_and_of_word2vec():
    config, others, *_ = parse()

    assert config == PipelineConfig(input=("corpus/*.txt",), output="dataset")
    assert others == []
    assert (config.window_size, config.num_negatives, config.min_count) == (5, 5, 5)
    assert (config.subsample, config.ns_exponent, config.shrink_windows) == (1e-3, 0.75, True)


def test_every_flag_reaches_its_setting():
    values = {
        "vocab_size": 100, "min_count": 2, "subsample": 0.01, "window_size": 3, "num_negatives": 7,
        "ns_exponent": 0.5, "passes": 2, "block_targets": 32, "block_negatives": 16, "num_shards": 4, "seed": 9,
        "tokenizer": "whitespace", "compression": "none", "oov": "unk", "sequence_length": 20, "subsampling": "zipf",
        "negatives": "log_uniform", "example_format": "pairs", "holdout": 0.25, "vocabulary": "d",
        "input_format": "jsonl", "column": "items",
        "phrases": 3, "phrase_min_count": 9, "phrase_threshold": 0.5, "phrase_scoring": "npmi",
    }  # fmt: skip

    config, *_ = options.parse([
        "--input", "a", "b", "--output", "c", "--overwrite", "--no_shrink_windows", "--grow_vocabulary",
        *(f"--{flag}={value}" for flag, value in values.items()),
    ])  # fmt: skip

    assert dataclasses.asdict(config) == {
        "input": ("a", "b"),
        "output": "c",
        "overwrite": True,
        "grow_vocabulary": True,
        "shrink_windows": False,
        **values,
    }


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--window_sise", "--window_size"),
        ("--vocabsize", "--vocab_size"),
        ("--sead", "--seed"),
        ("--num-shards", "--num_shards"),
        ("--direct_num_worker", "--direct_num_workers"),
        ("--runer", "--runner"),
    ],
)
@pytest.mark.parametrize("value", ["=3", " 3"])
def test_an_unknown_flag_is_refused_with_the_one_that_was_meant(flag, meant, value):
    with pytest.raises(UserError, match=f"unknown argument {flag}.*did you mean {meant}[?]"):
        parse(*f"{flag}{value}".split())


@pytest.mark.parametrize("stray", ["--zzzzzzzz", "stray.txt"])
def test_what_resembles_nothing_is_refused_without_a_guess(stray):
    with pytest.raises(UserError, match=f"unknown argument {stray}$"):
        options.parse(["--output", "dataset", "--input", "a", "--seed", "1", stray])


@pytest.mark.parametrize("flag", ["--vocab=9", "--window=3", "--no_shrink", "--over", "--direct_num=2", "--run=Flink"])
def test_abbreviations_are_refused(flag):
    """An abbreviation would change its meaning when a flag is added, here or in Beam."""
    with pytest.raises(UserError, match=re.escape(f"unknown argument {flag}")):
        parse(flag)


def test_beams_own_flags_are_let_through():
    beam_flags = [
        "--runner=FlinkRunner", "--direct_num_workers", "2", "--direct_running_mode=multi_processing",
        "--flink_master=localhost:8081", "--project=p", "--region", "r", "--temp_location=gs://b/t",
        "--experiments=use_runner_v2", "--streaming",
    ]  # fmt: skip

    config, others, *_ = options.parse([*beam_flags[:3], *REQUIRED, "--seed=5", *beam_flags[3:]])

    assert others == beam_flags
    assert config.seed == 5


def test_a_beam_flag_with_nonsense_is_refused_with_its_name():
    with pytest.raises(UserError, match="--direct_num_workers.*'two'"):
        parse("--direct_num_workers=two")


def test_no_setting_has_the_name_of_a_beam_option():
    beams = argparse.ArgumentParser(conflict_handler="resolve")
    for options_class in PipelineOptions.__subclasses__():
        if options_class is not DatasetOptions:
            options_class._add_argparse_args(beams)
    taken = {action.dest for action in beams._actions} | set(beams._option_string_actions)

    assert "runner" in taken and "--num_workers" in taken
    for field in dataclasses.fields(PipelineConfig):
        assert field.name not in taken and f"--{field.name}" not in taken


def test_settings_are_among_beams_options(caplog):
    config, beam_flags, *_ = parse("--preset=tutorial", "--seed=9", "--direct_num_workers=2", "--labels=a=b")

    told = pipeline_options(beam_flags, config)

    assert option_values(config) == {**dataclasses.asdict(config), "input": ["corpus/*.txt"]}
    for shown in (told.get_all_options(), told.display_data()):  # the latter are options without defaults
        assert {**shown, **option_values(config)} == shown
        assert (shown["direct_num_workers"], shown["labels"]) == (2, ["a=b"])
    assert caplog.messages == []


def test_a_worker_can_read_the_options(caplog):
    """A worker gets them as JSON, in which numbers may be fractions, and makes flags of them."""
    config = parse("--preset=tutorial", "--overwrite").config
    sent = {"direct_num_workers": 2, **option_values(config), "window_size": 2.0}

    read = PipelineOptions.from_dictionary(json.loads(json.dumps(sent))).get_all_options()

    assert read["direct_num_workers"] == 2
    assert caplog.messages == []


def test_a_name_that_is_not_a_flag_is_unknown_although_beam_knows_the_option():
    assert DatasetOptions in PipelineOptions.__subclasses__()
    with pytest.raises(UserError, match="unknown argument --shrink_windows: did you mean --no_shrink_windows"):
        parse("--shrink_windows")


def test_the_config_refuses_nonsense_without_the_command_line_too():
    with pytest.raises(UserError, match="--window_size 0: expected a whole number from 1 to 255"):
        PipelineConfig(input=("a",), output="b", window_size=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        PipelineConfig(input=("a",), output="b").seed = 2


# What a person sees. Each case: arguments with {folder} for a folder, and what the one line is to say.
COMMANDS = {
    "unknown flag": (
        ["--input", "{folder}/a.txt", "--output", "{folder}/new", "--windowsize=3"],
        "unknown argument --windowsize=3: did you mean --window_size?",
    ),
    "bad value": (
        ["--input", "{folder}/a.txt", "--output", "{folder}/new", "--min_count=0"],
        "--min_count 0: expected a whole number from 1",
    ),
    "missing input": (
        ["--input", "{folder}/a.txt", "{folder}/missing.txt", "--output", "{folder}/new"],
        "--input {folder}/missing.txt matches no file",
    ),
    "directory as input": (
        ["--input", "{folder}", "--output", "{folder}/new"],
        "--input {folder} is a directory: expected files, such as '{folder}/*'",
    ),
    "file as output": (
        ["--input", "{folder}/a.txt", "--output", "{folder}/a.txt"],
        "--output {folder}/a.txt cannot be used as a directory",
    ),
    "foreign files in the output": (
        ["--input", "{folder}/a.txt", "--output", "{folder}/foreign", "--overwrite"],
        "--output {folder}/foreign holds thesis.doc, which belongs to no dataset",
    ),
    "existing dataset": (
        ["--input", "{folder}/a.txt", "--output", "{folder}/existing"],
        "--output {folder}/existing already holds a dataset: name another, or add --overwrite",
    ),
    "runner without what it needs": (
        ["--input", "gs://b/a.txt", "--output", "gs://b/new", "--runner=DataflowRunner", "--no_auth"],
        "Beam's flags: Missing",
    ),
    "runner that knows nobody": (
        ["--input", "gs://b/a.txt", "--output", "gs://b/new", "--runner=DataflowRunner"],
        "--runner DataflowRunner: there are no Google credentials here",
    ),
    "path that Dataflow has not": (
        ["--input", "gs://b/a.txt", "--output", "{folder}/new", "--runner=DataflowRunner"],
        "--output {folder}/new is on this machine: Dataflow's workers need a path such as gs://BUCKET{folder}/new",
    ),
    "input that reads the output": (
        ["--input", "{folder}/**", "--output", "{folder}/new"],
        "--input {folder}/** also matches files of --output {folder}/new: expected an output that no --input matches",
    ),
    "unknown runner": (["--input", "{folder}/a.txt", "--output", "{folder}/new", "--runner=NoSuchRunner"], "--runner"),
}
FILES = {
    "a.txt": b"to be or not to be\n",
    "foreign/thesis.doc": b"x",
    "foreign/manifest.json": b"{}",
    "existing/manifest.json": b"{}",
    "existing/vocabulary.tsv": b"[PAD]\t0\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("options"), FILES)


# These are run as processes of their own, because libraries have more to say there. The others are run in this process.
PROCESSES = ("unknown flag", "existing dataset", "runner without what it needs", "runner that knows nobody")
NEW = ("unknown flag", "runner that knows nobody")  # whose imports must not print anything, either


@pytest.fixture(scope="module")
def ended(folder):
    """All commands above, run to their end."""

    def run(case):
        arguments = [argument.format(folder=folder) for argument in COMMANDS[case][0]]
        if case in PROCESSES:
            nobody = {"CLOUDSDK_CONFIG": "/nonexistent", "GOOGLE_APPLICATION_CREDENTIALS": "", "NO_GCE_CHECK": "true"}
            return command(*arguments, is_new=case in NEW, **nobody)
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            returncode = __main__.main(arguments)
        return subprocess.CompletedProcess(arguments, returncode, out.getvalue(), err.getvalue())

    with ThreadPoolExecutor(2) as pool:
        processes = pool.map(run, PROCESSES)  # these run meanwhile
        here = {case: run(case) for case in COMMANDS if case not in PROCESSES}
        return {**here, **dict(zip(PROCESSES, processes, strict=True))}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_mistake_is_told_in_one_line_with_exit_code_2(ended, folder, case):
    done = ended[case]

    assert done.stderr.startswith("python -m pipeline: " + COMMANDS[case][1].format(folder=folder))
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")
    assert done.returncode == 2
    assert done.stdout == ""


def test_a_mistake_leaves_everything_as_it_was(ended, folder):
    assert contents(folder) == FILES


def test_help_names_every_flag_and_its_default(capsys):
    with pytest.raises(SystemExit) as raised:
        options.parse(["--help"])

    text = capsys.readouterr().out
    assert raised.value.code == 0
    for field in dataclasses.fields(PipelineConfig):
        assert f"--{field.name}" in text.replace("--no_shrink", "--shrink")
    assert "(default: 0.75)" in text
