"""What a worker process imports before TensorFlow: it leaves standard error to those who have something to say."""

from apache_beam.runners.worker import sdk_worker

from pipeline.console import importing

with importing():
    import tensorflow  # noqa: F401

# Beam logs the traceback of what a worker raised, which the launcher shows if no user can mend it; and prints it, too.
sdk_worker.print = lambda *args, **kwargs: None
