"""python -m pipeline --input 'corpus/*.txt' --output DATASET"""

import atexit
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from pipeline import interrupt
from pipeline.console import ERASE_LINE, EXIT_FAILED, EXIT_USAGE, importing, is_terminal, program
from pipeline.errors import user_message

# The functions import what takes longer, because Ctrl-C shows a traceback until `command` has called install.
if TYPE_CHECKING:
    import logging

# Lines of the log that hold one of these texts are not shown.
_NOISE = (
    "Tables initialized inside a tf.function",  # TensorFlow warns of a table that TFT builds only once
    "No session file found",  # there is none, see preflight.pipeline_options
    "No semi_persistent_directory found",
    "UserError",  # it makes the job fail
    "Discarding unparseable args",  # Beam's workers know fewer flags than its launcher
    # Prism logs the following as a job ends. If it failed, the exception says why.
    "Serving JobManagement",
    "pipeline done!",
    "received bundle error",
    "aborting due to bundle error",
    "not registered in worker pool",
)
_NAME = "python -m pipeline"


def main(argv: Sequence[str], may_fork: bool = False) -> int:
    """Runs the pipeline and returns the exit code: 2 for a mistake that was found before the job, 1 if the job failed.

    Args:
        argv: the arguments, without the program's name.
        may_fork: whether this process does nothing else, so that it may be copied for workers.
    """
    from pipeline import forks, options, progress, worker

    code = EXIT_USAGE
    try:
        arguments = options.parse(argv)
        _prepare_logging(arguments.quiet)
        worker.check_memory()
        with importing():
            # These import Beam and TensorFlow, which takes seconds, so the flags are checked first.
            from pipeline.job import preflight, runner, stages
            from pipeline.plan.estimate import estimate
            from pipeline.plan.report import report

            # Local runners have their workers in this process, or in copies of it.
            worker.stop_printing_tracebacks()
            worker.end_bundles_early()
        with contextlib.ExitStack() as during:
            if not arguments.plan and not arguments.quiet:
                during.enter_context(
                    progress.shared_board([stage.title for stage in stages.stages_of(arguments.config)])
                )
            if not arguments.plan and may_fork:
                during.enter_context(forks.serving())
            preflight.check(arguments.config, arguments.beam_flags, writes=not arguments.plan)
            if arguments.plan:
                code = EXIT_FAILED
                text = report(estimate(arguments.config, arguments.plan_share), arguments.config)
            else:
                with preflight.reserved_output(arguments.config):
                    code = EXIT_FAILED
                    text = runner.run(arguments.config, arguments.beam_flags)
        if arguments.plan or not arguments.quiet:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        _silence_workers()
        sys.stderr.write(f"{program(_NAME)}: {message}\n")
        return code
    return 0


def command() -> NoReturn:
    """Runs the command with the arguments of this process, and ends the process."""
    interrupt.install(program(_NAME), "run it again")
    code = main(sys.argv[1:], may_fork=True)
    # All that is left is to take the modules apart, on which the interpreter would spend a quarter of a second.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _prepare_logging(quiet: bool) -> None:
    """Has news, warnings and errors written to standard error, or with `quiet` warnings and errors alone."""
    import logging

    handler = logging.StreamHandler()
    handler.addFilter(_is_news)
    before = ERASE_LINE if is_terminal() else ""  # the line takes the place of a bar
    logging.basicConfig(
        format=f"{before}%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING, handlers=[handler]
    )
    logging.getLogger("pipeline").setLevel(logging.WARNING if quiet else logging.INFO)
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)  # it logs each start and end


def _is_news(record: "logging.LogRecord") -> bool:
    """Whether to show a line of the log. What makes the job fail is left out, because it is told at the end."""
    message = record.getMessage()
    errors = [record.exc_info[1]] if record.exc_info and record.exc_info[1] else []
    if any(type(error).__module__.startswith("grpc") for error in errors):
        return False  # it tells that a worker process has ended
    if record.levelname == "ERROR":  # it may hold a worker's traceback, with backslashes instead of line ends
        errors.append(RuntimeError(message.replace("\\n", "\n").replace("\\'", "'")))
    is_mistake = any(user_message(error) is not None for error in errors)
    return not is_mistake and not any(text in message for text in _NOISE)


def _silence_workers() -> None:
    """Hides what the workers of some runners still log or raise, as they notice late that the job has ended."""
    import logging
    import threading

    logging.disable()
    threading.excepthook = lambda _: None


if __name__ == "__main__":
    command()
