"""The settings for the processor reach TensorFlow. Each test runs TensorFlow in a process of its own."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = """
import sys
from trainer import devices
devices.prepare(sys.argv[1])
assert "tensorflow" not in sys.modules
import tensorflow as tf
products = tf.function(tf.linalg.matmul)(tf.fill([8, 64, 64], 1 + 2**-12), tf.eye(64, batch_shape=[8]))
print(float(products[0, 0, 0]) == 1 + 2**-12)
"""


def exact_products(precision, **environment):
    """Whether matrix products keep bits that bfloat16 does not have."""
    inherited = {name: value for name, value in os.environ.items() if name != "TF_SET_ONEDNN_FPMATH_MODE"}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, precision],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip() == "True"


def test_products_are_exact_with_float32():
    assert exact_products("float32")


def test_variables_that_the_user_has_set_stay_as_they_are():
    assert exact_products("bfloat16", TF_SET_ONEDNN_FPMATH_MODE="STRICT")


@pytest.mark.skipif(
    not os.path.exists("/proc/cpuinfo") or "amx_bf16" not in open("/proc/cpuinfo").read(),
    reason="the processor has no AMX",
)
def test_products_are_rounded_with_bfloat16_if_the_processor_supports_it():
    assert not exact_products("bfloat16")


def test_what_a_program_has_set_for_itself_does_not_reach_the_processes_that_it_starts():
    """They have another share of the cores, and may have another precision. What the user has set does reach them."""
    script = """
import os
from trainer import devices
os.environ["TF_NUM_INTRAOP_THREADS"] = "7"
devices.prepare("bfloat16")
child = devices.environment_of_child(1000)
print(*(child.get(name) for name in ("TF_SET_ONEDNN_FPMATH_MODE", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS")))
"""
    names = ("TF_SET_ONEDNN_FPMATH_MODE", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout == "None 2 7\n"
