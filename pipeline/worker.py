"""Beam's worker processes: what they need, when they end, and how they keep from writing noise to standard error.

On this machine, the command starts worker processes as `python -m pipeline.worker LAUNCHER`, where LAUNCHER is the id
of its own process. Other runners start workers in their own ways. Each worker loads this module before it loads
TensorFlow, because the modules with the job's steps import it. In any other process, importing this module does
nothing.
"""

import os
import shlex
import signal
import sys
import threading
import time

from pipeline import limits
from pipeline.console import importing

# What the launcher and each worker process use at least, in bytes. Most of it is TensorFlow and Beam.
MEMORY_BYTES = 800_000_000
_ADDRESS_BYTES = 4_300_000_000  # libraries reserve many more addresses than they use
_SECONDS_BETWEEN_LOOKS = 0.05


def is_worker_process() -> bool:
    """Whether this process was started as a worker.

    The command starts a worker by `python -m pipeline.worker`. Beam starts one by
    `python -m apache_beam.runners.worker.MODULE`, or by `python -c` and an import from there.
    """
    arguments = sys.orig_argv[1:3]
    return arguments == ["-m", "pipeline.worker"] or any("apache_beam.runners.worker." in each for each in arguments)


def worker_command() -> str:
    """The shell command by which this process, the launcher, starts a worker process on this machine."""
    # Ctrl-C also reaches the workers. They ignore it, because the launcher ends them.
    return f"trap '' INT; exec {shlex.quote(sys.executable)} -m pipeline.worker {os.getpid()}"


def check_memory() -> None:
    """Checks that this process may use the memory that it needs. Without it, TensorFlow aborts the process.

    Raises:
        UserError: it may not; the message says what is needed.
    """
    limits.check_addresses("the pipeline", _ADDRESS_BYTES)
    limits.check_memory(MEMORY_BYTES, "the pipeline", "use a larger machine, or raise the limit")


def stop_printing_tracebacks() -> None:
    """Makes the Beam workers of this process stop printing the traceback of each error.

    They also log it and send it to the launcher, which shows it if the error is not a mistake of the user.
    """
    from apache_beam.runners.worker import sdk_worker

    sdk_worker.print = lambda *args, **kwargs: None


def end_bundles_early() -> None:
    """Makes the Beam workers of this process end each bundle without a wait.

    A thread looks again and again which step a worker is in, at last five times a second, and a bundle ends only once
    this thread has woken up. Here it wakes up two hundred times a second, which takes next to no time.
    """
    from apache_beam.runners.worker import statesampler

    statesampler.StateSampler.__init__.__defaults__ = (5,)


def main(launcher: int) -> None:
    """Runs a worker process.

    Args:
        launcher: the id of the process that started it. The worker ends when that process has ended, however it ended.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stay_with(launcher)
    with importing():
        import tensorflow  # noqa: F401
        from apache_beam.runners.worker import sdk_worker_main
    sdk_worker_main.main(sys.argv)


def stay_with(parent: int) -> None:
    """Ends this worker process when its parent process has ended, and hides what it writes to standard error.

    Errors go to the launcher. What else there is to say would only be noise.
    """
    threading.Thread(target=_end_after, args=(parent,), name="parent", daemon=True).start()
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
elif is_worker_process():
    with importing():
        import tensorflow  # noqa: F401
    stop_printing_tracebacks()
