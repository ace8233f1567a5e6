"""python -m pipeline --input 'corpus/*.txt' --output DATASET"""

import logging
import os
import sys

from pipeline import options
from pipeline.errors import UserError, user_message

EXIT_USAGE = 2
EXIT_FAILED = 1


def main(argv: list[str]) -> int:
    """Runs the pipeline and returns the exit code: 2 for a mistake in the flags, 1 if the job failed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("pipeline").setLevel(logging.INFO)
    try:
        config, beam_flags = options.parse(argv)
        from pipeline import runner  # imports Beam and TensorFlow: not before the flags are known to be good

        runner.check(config)
    except UserError as error:
        print(f"python -m pipeline: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        print(runner.run(config, beam_flags))
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
        print(f"python -m pipeline: {message}", file=sys.stderr)
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
