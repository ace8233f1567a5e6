"""python -m pipeline --input 'corpus/*.txt' --output DATASET"""

import logging
import sys
import threading

from pipeline import options
from pipeline.console import EXIT_FAILED, EXIT_USAGE, importing
from pipeline.errors import UserError, user_message


def main(argv: list[str]) -> int:
    """Runs the pipeline and returns the exit code: 2 for a mistake in the flags, 1 if the job failed."""
    handler = logging.StreamHandler()
    handler.addFilter(_is_news)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING, handlers=[handler])
    logging.getLogger("pipeline").setLevel(logging.INFO)
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.ERROR)  # job servers come and go
    try:
        arguments = options.parse(argv)
        with importing():
            from pipeline.job import (  # import Beam and TensorFlow: not before the flags are known to be good
                preflight,
                runner,
            )
            from pipeline.plan.estimate import estimate
            from pipeline.plan.report import report
        preflight.check(arguments.config, arguments.beam_flags, writes=not arguments.plan)
    except UserError as error:
        print(f"python -m pipeline: {error}", file=sys.stderr)
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
        # What threads of the job still say is of its end, which some runners' workers notice late.
        logging.disable()
        threading.excepthook = lambda _: None
        print(f"python -m pipeline: {message}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the log is worth showing; a user's mistake is told in one line at the end."""
    message = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    is_mistake = "UserError" in message or (error is not None and user_message(error) is not None)
    return not is_mistake and not any(text in message for text in _NOISE)


_NOISE = (
    "Tables initialized inside a tf.function",  # TFT builds the table that TensorFlow warns of just once
    "No session file found",  # all is in modules, see runner.pipeline_options
    "No semi_persistent_directory found",
    "Discarding unparseable args",  # Beam's workers know fewer flags than its launcher
    # Of Prism; what ended a job is told by the exception.
    "Serving JobManagement",
    "pipeline done!",
    "received bundle error",
    "aborting due to bundle error",
    "not registered in worker pool",
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
