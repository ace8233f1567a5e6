"""Keeps Beam's worker processes from writing noise to standard error.

Beam starts some workers as processes of their own. Each loads this module before it loads TensorFlow, because the
modules with the job's steps import it. In any other process, importing this module does nothing.
"""

import sys

from pipeline.console import importing


def is_worker_process() -> bool:
    """Whether Beam started this process as a worker.

    Beam starts a worker by `python -m apache_beam.runners.worker.MODULE`, or by `python -c` and an import from there.
    """
    return any("apache_beam.runners.worker." in argument for argument in sys.orig_argv[1:3])


def stop_printing_tracebacks() -> None:
    """Makes the Beam workers of this process stop printing the traceback of each error.

    They also log it and send it to the launcher, which shows it if the error is not a mistake of the user.
    """
    from apache_beam.runners.worker import sdk_worker

    sdk_worker.print = lambda *args, **kwargs: None


if is_worker_process():
    with importing():
        import tensorflow  # noqa: F401
    stop_printing_tracebacks()
