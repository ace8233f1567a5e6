"""How TensorFlow is to use the processor. It reads this from the environment, as it is imported."""

import os


def prepare(precision: str) -> None:
    """Sets what TensorFlow reads, where the user has not; to be called before it is imported.

    A step is two chains of operations, one for each half of a batch. One thread for each of them keeps two cores busier
    than two threads for each operation, which wait for one another several times a millisecond.

    Args:
        precision: bfloat16: matrix products round their factors to bfloat16 (and add up in float32) where oneDNN has
            instructions for it, as Intel's AMX; elsewhere, and with float32, they do not.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(max(2, cores)))
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, cores // 2)))
    os.environ.setdefault("TF_SET_ONEDNN_FPMATH_MODE", {"bfloat16": "BF16", "float32": "STRICT"}[precision])
