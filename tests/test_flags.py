"""Flags: each is stated once, on a field of a config, and the parsers, their help and the README's tables agree."""

import argparse
import dataclasses
import importlib
import re
import resource
import subprocess
import sys

import flags_table
import pytest

import pipeline.settings
import trainer.settings
from pipeline import options
from tests.conftest import ROOT
from trainer import task

PROGRAMS = {
    "pipeline": ("pipeline.options", "pipeline.config", "PipelineConfig", "pipeline"),
    "trainer": ("trainer.task", "trainer.config", "TrainerConfig", "trainer.task"),
}
REQUIRED = {"pipeline": {"input": ("a",), "output": "b"}, "trainer": {"data": "a", "output": "b"}}


@pytest.fixture(params=PROGRAMS)
def program(request):
    """The name of a program, the module that parses its flags, its config's class, and its presets."""
    options, config, class_name, _ = PROGRAMS[request.param]
    config_module = importlib.import_module(config)
    return (
        request.param,
        importlib.import_module(options),
        getattr(config_module, class_name),
        config_module.PRESETS,
    )


def test_the_two_packages_have_the_same_module_of_settings():
    ours, theirs = ((ROOT / package / "settings.py").read_text() for package in ("pipeline", "trainer"))

    assert ours.replace("from pipeline.", "from trainer.") == theirs
    assert ours.count("from pipeline.") == 1


def test_every_field_is_a_flag_with_a_help_text(program):
    _, module, config_class, _ = program
    actions = {action.dest: action for action in module.flag_parser()._actions}

    for field in dataclasses.fields(config_class):
        assert len(actions[field.name].help.split()) > 3
    assert {setting.name for setting in module.SETTINGS} == {
        *(field.name for field in dataclasses.fields(config_class)), "preset"
    }  # fmt: skip


def test_help_does_not_call_a_feature_on_that_its_flag_turns_off(program, capsys):
    _, module, *_ = program
    with pytest.raises(SystemExit):
        module.parse(["--help"])

    text = capsys.readouterr().out
    assert "True" not in text and "False" not in text and "None" not in text


def test_presets_set_known_settings_to_values_that_are_allowed(program):
    name, _, config_class, presets = program

    for values in presets.values():
        config = config_class(**REQUIRED[name], **values)
        assert {key: getattr(config, key) for key in values} == values


def test_a_value_of_another_type_is_refused_with_the_name_of_its_flag(program):
    name, module, config_class, _ = program
    wrong = {bool: 1, int: 2.5, float: "0.5", str: 7, tuple: "a.txt"}

    for setting in module.SETTINGS[1:]:
        for value in (wrong[setting.kind], None):
            with pytest.raises(Exception, match=rf"^{setting.flag} {re.escape(repr(value))}: expected ") as raised:
                config_class(**{**REQUIRED[name], setting.name: value})
            assert type(raised.value).__name__ == "UserError"
            assert "\n" not in str(raised.value)


def test_numbers_of_numpy_are_numbers(program):
    import numpy as np

    name, _, config_class, _ = program
    assert config_class(**REQUIRED[name], seed=np.int64(3)).seed == 3


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_is_quick_and_imports_nothing_large(name):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", PROGRAMS[name][3], "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert name in imported
    assert not imported & {"tensorflow", "keras", "apache_beam", "tensorflow_transform", "numpy", "pyarrow"}
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3  # seconds of the processor


# The tables of flags in the README


def test_a_table_has_a_row_for_each_flag_of_the_parser(program):
    name, module, _, presets = program
    flags = [
        action.option_strings[-1]
        for action in module.flag_parser()._actions
        if action.default is not argparse.SUPPRESS
    ]  # fmt: skip
    rows = [re.split(r" +\| +", line.strip("| ")) for line in flags_table.table(name).splitlines()[2:]]

    assert sorted(re.match(r"`(--\w+)", row[0]).group(1) for row in rows) == sorted(flags)
    cells = {re.match(r"`--(?:no_)?(\w+)", row[0]).group(1): row for row in rows}
    for setting, value in presets["tutorial"].items():
        assert cells[setting][2] == ("given" if value is False else str(value))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_readme_has_the_tables_of_flags(name):
    readme = (ROOT / "README.md").read_text()
    found = re.findall(rf"<!-- flags of the {name} -->\n(.*?)<!-- end of flags -->", readme, re.DOTALL)
    command = f"python deploy/local/flags_table.py {name}"
    printed = subprocess.run([sys.executable, *command.split()[1:]], cwd=ROOT, capture_output=True, text=True).stdout

    assert len(found) == 1, f"README.md has no place for the table of the {name}'s flags"
    assert found[0].strip() == printed.strip(), f"put into README.md what `{command}` prints"


# Repeated flags


@pytest.mark.parametrize("preset", [[], ["--preset", "tutorial"]])
def test_a_repeated_input_adds_files(preset):
    """Flags are parsed twice, because a preset sets defaults; nothing may be left over from the first time."""
    flags = ["--input", "a", "b", *preset, "--output", "o", "--input=c", "--runner=DirectRunner", "--input", "a", "d*"]
    for _ in range(2):
        assert options.parse(flags).config.input == ("a", "b", "c", "a", "d*")


@pytest.mark.parametrize("settings", [pipeline.settings, trainer.settings])
def test_a_setting_of_several_strings_takes_all_that_are_given(settings):
    setting = settings.Setting(name="files", kind=tuple, help="")
    for _ in range(2):
        parser = argparse.ArgumentParser()
        settings.add_flags(parser, [setting], {})
        assert parser.parse_args(["--files", "a", "--files", "b", "c"]).files == ["a", "b", "c"]


@pytest.mark.parametrize("parse", [options.parse, task.parse])
def test_of_a_repeated_flag_with_one_value_the_last_counts(parse):
    """Scripts append flags to those that they have, to override them."""
    required = ["--input", "a"] if parse is options.parse else ["--data", "d"]
    parsed = parse([*required, "--output", "o", "--seed", "3", "--output", "p", "--seed", "4"])
    config = parsed.config if parse is options.parse else parsed
    assert (config.output, config.seed) == ("p", 4)


@pytest.mark.parametrize(
    "parse, flag, message",
    [
        (options.parse, "--window_size=wide", "--window_size: 'wide': expected a whole number from 1 to 255"),
        (options.parse, "--vocab_size=1e6", "--vocab_size: '1e6': expected 0 for no limit, or a whole number from"),
        (options.parse, "--subsample=some", "--subsample: 'some': expected a number from 0 to 1"),
        (task.parse, "--learning_rate=fast", "--learning_rate: 'fast': expected a number from 1e-09 to 1000"),
    ],
)
def test_what_is_not_a_number_is_told_with_what_would_be_right(parse, flag, message):
    required = ["--output", "o", *(["--input", "a"] if parse is options.parse else ["--data", "d"])]

    with pytest.raises((pipeline.UserError, trainer.UserError), match=message):
        parse([*required, flag])
