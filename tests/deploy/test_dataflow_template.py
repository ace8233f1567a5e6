"""The parameters of the Flex Template: what metadata.json says of them, and how they become the pipeline's flags."""

import dataclasses
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from google.cloud.dataflow_v1beta3.types import TemplateMetadata
from google.protobuf import json_format

from pipeline import options
from pipeline.config import PRESETS, PipelineConfig
from pipeline.errors import UserError
from pipeline.settings import settings_of

DATAFLOW = Path(__file__).parents[2] / "deploy" / "dataflow"
IMAGE = "europe-docker.pkg.dev/some-project/images/word2vec-beam:0.1.0-abc-20260101-000000"
METADATA = json.loads((DATAFLOW / "metadata.json").read_text())
PARAMETERS = {parameter["name"]: parameter for parameter in METADATA["parameters"]}
flags = runpy.run_path(str(DATAFLOW / "template_main.py"))["flags"]
REQUIRED = ["--input=gs://b/a*", "--output=gs://b/d"]

# The ends of all ranges, numbers beside them, and numbers that share some of their digits.
ENDS = {2, 9, 99, 255, 300, 999, 1000, 2000, 4096, 5000, 9999, 10_000, 12_345, 99_999}
ENDS |= {end + digits for end in (2**31, 2**62, 2**63) for digits in (-1, 0, 10, 1000, 10**8)}
WHOLE_NUMBERS = {-1, *range(12), 10**20}
WHOLE_NUMBERS |= {end + distance for end in ENDS for distance in (-11, -1, 0, 1, 11) if end > 11}
FRACTIONS = (
    "0 1 2 3 0.0 1.0 2.0 1.00 0.5 .5 0. 1. 0.75 1e-3 1E-5 2.5e-05 1.e-3 0.001 -0.5 -2 -2.0 1.1 1.75 2.1 -2.1 -3 12 "
)
FRACTIONS += "1e3 nan inf -inf x 0,5 1e-3x 0.5.5 99999e-3 -99999e-3 25.5e-1 9.9e-1 -9.9e-01 .5e-2 "


def values_for(name: str) -> list[str]:
    """Good and bad values of a parameter."""
    action = options.flag_parser()._option_string_actions.get(f"--{name}")
    if action is None:
        return ["image:tag"]
    if action.nargs == 0:
        return ["true", "false", "yes", "1", "truefalse"]
    if action.choices:
        return [*action.choices, "".join(action.choices), "x", next(iter(action.choices)).upper()]
    kind = {field.name: field.type for field in dataclasses.fields(PipelineConfig)}.get(name)
    if kind is int:
        return [*map(str, sorted(WHOLE_NUMBERS)), "1.5", "1e6", "five", "5 5"]
    if kind is float:
        return FRACTIONS.split()
    return ["gs://b/x"]


def is_accepted(name: str, value: str) -> bool:
    """Whether the launcher takes a value."""
    try:
        options.parse(flags([*REQUIRED, f"--{name}={value}"]))
    except UserError:
        return False
    return True


def matches(pattern: str, values: list[str]) -> set[str]:
    """The values that a POSIX extended regular expression matches."""
    grep = subprocess.run(
        ["grep", "-E", "-e", pattern],
        input="\n".join(values),
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert grep.returncode < 2, grep.stderr
    return set(grep.stdout.splitlines())


def test_metadata_is_what_its_script_makes():
    made = subprocess.run([sys.executable, DATAFLOW / "make_metadata.py"], capture_output=True, text=True, cwd="/")

    assert made.returncode == 0, made.stderr
    assert made.stdout == (DATAFLOW / "metadata.json").read_text(), (
        "python deploy/dataflow/make_metadata.py > deploy/dataflow/metadata.json"
    )


def test_metadata_is_what_dataflow_knows():
    """Parsed as the API's own message, which refuses an unknown field or type."""
    message = json_format.ParseDict(METADATA, TemplateMetadata.pb(TemplateMetadata()))

    assert len(message.parameters) == len(PARAMETERS) == len(METADATA["parameters"])
    for parameter in message.parameters:
        assert parameter.label and parameter.help_text and len(parameter.regexes) == 1


def test_every_setting_is_a_parameter():
    settings = {field.name for field in dataclasses.fields(PipelineConfig)}

    assert PARAMETERS.keys() == settings - {"shrink_windows"} | {"no_shrink_windows", "preset", "sdk_container_image"}
    assert {name for name, parameter in PARAMETERS.items() if not parameter["isOptional"]} == {"input", "output"}


def test_help_tells_every_default():
    config = options.parse(REQUIRED).config
    for name, parameter in PARAMETERS.items():
        if name in ("input", "output", "preset", "sdk_container_image"):
            continue
        if parameter.get("paramType") == "BOOLEAN":
            assert "(default: false" in parameter["helpText"]
        else:
            (setting,) = (setting for setting in settings_of(config) if setting.name == name)
            assert re.search(rf"\(default: {re.escape(setting.text(getattr(config, name)))}[,)]", parameter["helpText"])
        if name in PRESETS["tutorial"]:
            assert f", preset tutorial: {PRESETS['tutorial'][name]})" in parameter["helpText"]


def test_only_the_preset_is_filled_in_for_the_user():
    """What the console fills in, it sends, and then a preset has nothing left to say."""
    assert [name for name, parameter in PARAMETERS.items() if "defaultValue" in parameter] == ["preset"]
    filled_in = [f"--{name}=false" for name, parameter in PARAMETERS.items() if parameter.get("paramType") == "BOOLEAN"]
    filled_in += [f"--{name}=" for name in PARAMETERS if name not in ("input", "output", "preset")]

    config = options.parse(flags([*REQUIRED, *filled_in, "--preset=tutorial"])).config

    assert config == PipelineConfig(input=("gs://b/a*",), output="gs://b/d", **PRESETS["tutorial"])


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_patterns_know_good_from_bad(name):
    values = values_for(name)
    (pattern,) = PARAMETERS[name]["regexes"]
    accepted = {value for value in values if is_accepted(name, value)}

    assert accepted
    assert matches(pattern, values) == accepted
    assert not matches(pattern, ["", " ", "x y\tz"])


@pytest.mark.parametrize("name", ["subsample", "ns_exponent"])
def test_a_small_number_is_written_with_one_digit_before_the_point(name):
    """A pattern cannot tell 25e-6, which is allowed, from 25e-1, which is not."""
    assert not matches(PARAMETERS[name]["regexes"][0], ["25e-6", "10.0e-5", "0025e-6", "1e-0", "1e-00"])


@pytest.mark.parametrize("name", ["input", "output"])
def test_paths_are_in_the_cloud(name):
    (pattern,) = PARAMETERS[name]["regexes"]

    assert not matches(pattern, ["/tmp/text", "text/*.txt", "gs:/b/a", "b/a", "gs://", "x gs://b/a"])
    assert matches(PARAMETERS["input"]["regexes"][0], ["gs://b/a* gs://b/c*", "'gs://b/a b.txt'"])


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (["--input=gs://b/a*"], ["--input", "gs://b/a*"]),
        (["--input=gs://b/a* gs://b/c*"], ["--input", "gs://b/a*", "gs://b/c*"]),
        (["--input='gs://b/a b.txt' gs://b/c"], ["--input", "gs://b/a b.txt", "gs://b/c"]),
        (["--output=gs://b/a=b c"], ["--output=gs://b/a=b c"]),
        (["--overwrite=true", "--no_shrink_windows=True"], ["--overwrite", "--no_shrink_windows"]),
        (["--overwrite=false", "--no_shrink_windows=FALSE"], []),
        (["--overwrite=yes"], ["--overwrite=yes"]),  # which the parser refuses, by its name
        (["--overwrite"], ["--overwrite"]),
        (["--seed=", "--oov=", "--input=", "--overwrite="], []),
        (["--ns_exponent=-0.5"], ["--ns_exponent=-0.5"]),
        (["--labels={}", "--no_use_public_ips", "--project="], ["--labels={}", "--no_use_public_ips", "--project="]),
    ],
)
def test_parameters_become_flags(parameters, expected):
    assert flags(parameters) == expected


def test_workers_run_in_the_templates_image_unless_another_is_named():
    assert flags(["--seed=1"], IMAGE) == ["--seed=1", f"--sdk_container_image={IMAGE}"]
    assert flags(["--sdk_container_image=mine:1"], IMAGE) == ["--sdk_container_image=mine:1"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["--input=gs://b/it's"], "--input gs://b/it's: No closing quotation"),
        (["--output=gs://b/d"], "required: --input"),
        ([*REQUIRED, "--overwrite=yes"], "--overwrite"),
        ([*REQUIRED, "--window_size=0"], "--window_size 0"),
        ([*REQUIRED, "--windowsize=5"], "--windowsize=5: did you mean --window_size?"),
    ],
)
def test_a_mistake_in_a_parameter_is_told_in_one_line(parameters, message):
    result = subprocess.run(
        [sys.executable, DATAFLOW / "template_main.py", *parameters], capture_output=True, text=True, timeout=300
    )

    assert result.returncode == 2
    assert message in result.stderr and result.stderr.count("\n") == 1
