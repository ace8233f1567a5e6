"""python -m pipeline --input 'corpus/*.txt' --output DATASET"""

import logging
import sys
import threading
from collections.abc import Sequence

from pipeline import options
from pipeline.console import EXIT_FAILED, EXIT_USAGE, importing, program
from pipeline.errors import UserError, user_message

# Lines of the log that hold one of these texts are not shown.
_NOISE = (
    "Tables initialized inside a tf.function",  # TensorFlow warns of a table that TFT builds only once
    "No session file found",  # there is none, see preflight.pipeline_options
    "No semi_persistent_directory found",
    "Discarding unparseable args",  # Beam's workers know fewer flags than its launcher
    # Prism logs the following as a job ends. If it failed, the exception says why.
    "Serving JobManagement",
    "pipeline done!",
    "received bundle error",
    "aborting due to bundle error",
    "not registered in worker pool",
)


def main(argv: Sequence[str]) -> int:
    """Runs the pipeline and returns the exit code: 2 for a mistake that was found before the job, 1 if the job failed.

    Args:
        argv: the arguments, without the program's name.
    """
    name = program("python -m pipeline")
    handler = logging.StreamHandler()
    handler.addFilter(_is_news)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING, handlers=[handler])
    logging.getLogger("pipeline").setLevel(logging.INFO)
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)  # it logs each start and end
    try:
        arguments = options.parse(argv)
        with importing():
            # These import Beam and TensorFlow, which takes seconds, so the flags are checked first.
            from pipeline import worker
            from pipeline.job import preflight, runner
            from pipeline.plan.estimate import estimate
            from pipeline.plan.report import report

            worker.stop_printing_tracebacks()  # local runners have their workers in this process
        preflight.check(arguments.config, arguments.beam_flags, writes=not arguments.plan)
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        if arguments.plan:
            print(report(estimate(arguments.config, arguments.plan_share), arguments.config))
        else:
            print(runner.run(arguments.config, arguments.beam_flags))
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        # The workers of some runners notice late that the job has ended. What they still log or raise is of no use.
        logging.disable()
        threading.excepthook = lambda _: None
        print(f"{name}: {message}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def command() -> int:
    """Runs the command with the arguments of this process, and returns the exit code."""
    return main(sys.argv[1:])


def _is_news(record: logging.LogRecord) -> bool:
    """Whether to show a line of the log. A user's mistake is left out, because it is told in one line at the end."""
    message = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    is_mistake = "UserError" in message or (error is not None and user_message(error) is not None)
    return not is_mistake and not any(text in message for text in _NOISE)


if __name__ == "__main__":
    sys.exit(command())
