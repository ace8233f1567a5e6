"""The trainer as a library: training and vectors in programs of others."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import trainer
from tests.bystander import run_beside_bystander
from tests.conftest import ROOT
from trainer import UserError, load_vectors

PROGRAM = """
import json, sys
from trainer import TrainerConfig, load_vectors, train

assert "tensorflow" not in sys.modules
config = TrainerConfig(data=sys.argv[1], output=sys.argv[2], embedding_dim=16, batch_size=8, epochs=3, seed=5)
metrics = train(config)
with open(sys.argv[2] + "/metrics.json") as file:
    assert json.load(file) == json.loads(json.dumps(metrics))
assert load_vectors(sys.argv[2] + "/vectors.bin").vectors.shape == (metrics["vocab_size"] - 2, 16)
"""
# Prints a line for each warning of prepare. Stand-ins take the place of TensorFlow and of the training, since all that
# counts is what has been imported when.
TOO_LATE = """
import sys, types, warnings
warnings.simplefilter("always")
sys.modules["trainer.training"] = types.SimpleNamespace(train=lambda config, process, verbose: {})
tensorflow = types.ModuleType("tensorflow")
warnings.showwarning = lambda message, category, filename, line, *_: print(category.__name__, filename, message)
if sys.argv[1] == "tensorflow first":
    sys.modules["tensorflow"] = tensorflow
from trainer import TrainerConfig, train
if sys.argv[1] == "trainer first":
    sys.modules["tensorflow"] = tensorflow
for precision in sys.argv[2:]:
    assert train(TrainerConfig(data="dataset", output="model", precision=precision)) == {}
"""
SETTINGS = (
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_SET_ONEDNN_FPMATH_MODE",
    "TF_ONEDNN_USE_SYSTEM_ALLOCATOR",
)


def environment(**variables: str) -> dict[str, str]:
    """The environment without what prepare sets."""
    return {**{name: value for name, value in os.environ.items() if name not in SETTINGS}, **variables}


def python(script: str, *args: str, **variables: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script, *args],
        cwd=ROOT, env=environment(**variables), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_a_program_trains_the_commands_vectors_and_is_not_disturbed(dataset_dir, model_dir, tmp_path):
    done = run_beside_bystander(PROGRAM, tmp_path, dataset_dir, tmp_path / "library")

    assert done.stdout == ""
    metrics, expected = (json.loads((path / "metrics.json").read_text()) for path in (tmp_path / "library", model_dir))
    assert metrics["loss"] == expected["loss"]
    assert metrics["exports"] == expected["exports"]
    for name in ("vectors.bin", "vectors.txt", "vectors.tsv", "metadata.tsv"):
        assert (tmp_path / "library" / name).read_bytes() == (model_dir / name).read_bytes()


def test_importing_train_sets_tensorflow_up_and_the_config_has_the_last_word():
    script = f"""
import os, sys
from trainer import TrainerConfig, devices, train
print(*(os.environ.get(name) for name in {SETTINGS}))
devices.prepare("float32")
print(os.environ["TF_SET_ONEDNN_FPMATH_MODE"], "tensorflow" in sys.modules)
"""
    cores = len(os.sched_getaffinity(0))

    threads = f"{max(2, cores)} {max(1, cores // 2)}"
    assert python(script) == f"{threads} BF16 1\nSTRICT False\n"
    own = {"TF_SET_ONEDNN_FPMATH_MODE": "BF32", "TF_NUM_INTRAOP_THREADS": "7"}
    assert python(script, **own) == f"{max(2, cores)} 7 BF32 1\nBF32 False\n"


def test_a_program_that_imports_tensorflow_first_is_warned_once():
    lines = python(TOO_LATE, "tensorflow first", "bfloat16", "bfloat16").splitlines()

    assert len(lines) == 1, lines
    assert lines[0].startswith("RuntimeWarning <string> TensorFlow was imported before")  # the program's own line
    assert all(f" {name}=" in lines[0] for name in SETTINGS)


def test_a_program_that_imports_train_first_is_only_warned_of_a_precision_that_comes_too_late():
    lines = python(TOO_LATE, "trainer first", "bfloat16", "bfloat16", "float32").splitlines()

    assert len(lines) == 1, lines
    assert "set TF_SET_ONEDNN_FPMATH_MODE=STRICT in the environment" in lines[0]


def test_vectors_are_read_without_tensorflow(tmp_path):
    (tmp_path / "vectors.txt").write_text("2 3\ncat 1 0 0\ndog 0 0.5 0\n")

    script = "import sys, trainer; print(*trainer.load_vectors(sys.argv[1]).words, 'tensorflow' in sys.modules)"
    assert python(script, str(tmp_path / "vectors.txt")) == "cat dog False\n"
    vectors = load_vectors(str(tmp_path / "vectors.txt"))
    assert np.array_equal(vectors.vectors, np.array([[1, 0, 0], [0, 0.5, 0]], np.float32))


def test_a_file_that_is_not_there_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="vectors.bin cannot be read"):
        load_vectors(str(tmp_path / "vectors.bin"))


def test_the_package_has_these_names_and_no_others():
    assert {"TrainerConfig", "UserError", "load_vectors", "train"} == set(trainer.__all__) <= set(dir(trainer))
    with pytest.raises(AttributeError, match="module 'trainer' has no attribute 'fit'"):
        _ = trainer.fit
