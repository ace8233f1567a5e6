"""Settings that tell TensorFlow how to use the processor and the memory. It reads most of them from the environment."""

import ctypes
import os
import sys
import warnings

# glibc's numbers for settings of its memory allocator, and their values in bytes.
_LARGE, _LARGE_BYTES = -3, 32 << 20  # what is larger is given back to the system as soon as it is free
_KEPT, _KEPT_BYTES = -1, 512 << 20  # so much is kept of what is smaller

_set_here: dict[str, str] = {}  # the variables that prepare has set, and their values
_warned: set[str] = set()  # what prepare has warned of


def prepare(precision: str) -> None:
    """Sets the environment variables that TensorFlow reads. It must be called before TensorFlow is imported.

    Variables that the user has set stay as they are. It may be called again with another precision.

    A training step consists of two chains of operations, one for each half of a batch. One thread for each chain keeps
    two cores busier than two threads for each operation, as these wait for each other several times a millisecond.

    By itself, TensorFlow would keep all memory that it has ever used. It is told to leave that to the C library, which
    gives tables back that are no longer needed.

    Args:
        precision: bfloat16 or float32. With bfloat16, matrix products round their factors to bfloat16 and add up in
            float32 if the processor has instructions for it, such as Intel's AMX. Otherwise they stay in float32.

    Warns:
        RuntimeWarning: TensorFlow has been imported already without these variables. It warns only once.
    """
    settings = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **_threads(num_processes=1),
        "TF_SET_ONEDNN_FPMATH_MODE": {"bfloat16": "BF16", "float32": "STRICT"}[precision],
    }
    if _set_up_memory():
        settings["TF_ONEDNN_USE_SYSTEM_ALLOCATOR"] = "1"
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


def environment_of_child(num_processes: int) -> dict[str, str]:
    """The environment for a training process that this process starts.

    It has all that the user has set, but not what `prepare` has set in this process: the other one prepares itself, for
    its own precision.

    Args:
        num_processes: how many such processes share this machine, and so its cores.
    """
    return {**_threads(num_processes), **{k: v for k, v in os.environ.items() if _set_here.get(k) != v}}


def _threads(num_processes: int) -> dict[str, str]:
    """How many threads one of several processes on this machine uses: one for each chain of operations and core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = cores // num_processes
    return {"TF_NUM_INTEROP_THREADS": str(max(2, share)), "TF_NUM_INTRAOP_THREADS": str(max(1, share // 2))}


def _set_up_memory() -> bool:
    """Makes the C library keep what a step uses, and give back what is as large as a table.

    With its own settings, it would give back what a step uses as well, and ask for it again at the next step.

    Returns:
        Whether the C library has these settings, which are those of glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(setting, size) == 1 for setting, size in ((_LARGE, _LARGE_BYTES), (_KEPT, _KEPT_BYTES))
    )


def give_back_memory() -> None:
    """Gives memory that is free back to the system, where the C library can do that. It takes milliseconds."""
    if malloc_trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        malloc_trim(0)
