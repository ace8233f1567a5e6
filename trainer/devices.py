"""Settings that tell TensorFlow how to use the processor. TensorFlow reads them from the environment."""

import os
import sys
import warnings

_set_here: dict[str, str] = {}  # the variables that prepare has set, and their values
_warned: set[str] = set()  # what prepare has warned of


def prepare(precision: str) -> None:
    """Sets the environment variables that TensorFlow reads. It must be called before TensorFlow is imported.

    Variables that the user has set stay as they are. It may be called again with another precision.

    A training step consists of two chains of operations, one for each half of a batch. One thread for each chain keeps
    two cores busier than two threads for each operation, as these wait for each other several times a millisecond.

    Args:
        precision: bfloat16 or float32. With bfloat16, matrix products round their factors to bfloat16 and add up in
            float32 if the processor has instructions for it, such as Intel's AMX. Otherwise they stay in float32.

    Warns:
        RuntimeWarning: TensorFlow has been imported already without these variables. It warns only once.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    settings = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTEROP_THREADS": str(max(2, cores)),
        "TF_NUM_INTRAOP_THREADS": str(max(1, cores // 2)),
        "TF_SET_ONEDNN_FPMATH_MODE": {"bfloat16": "BF16", "float32": "STRICT"}[precision],
    }
    wanted = {name: value for name, value in settings.items() if os.environ.get(name) in (None, _set_here.get(name))}
    if "tensorflow" not in sys.modules:
        os.environ.update(wanted)
        _set_here.update(wanted)
        return
    missed = [f"{name}={value}" for name, value in wanted.items() if os.environ.get(name) != value]
    if missed and str(missed) not in _warned:
        _warned.add(str(missed))
        warnings.warn(
            "TensorFlow was imported before it was told how to use the processor, so training may be slower or have "
            f"another precision: import train from trainer first, or set {' '.join(missed)} in the environment",
            RuntimeWarning,
            stacklevel=3,  # the line that calls trainer.train
        )
