"""python -m trainer.member LAUNCHER NEWS FLAG...: one of the training processes that the trainer starts for --devices.

It is `python -m trainer.task FLAG...`, but ends when the process LAUNCHER has ended, however that has ended.
"""

import os
import signal
import sys
import threading
import time

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the launcher, too, and that ends this process

from trainer import task

_SECONDS_BETWEEN_LOOKS = 0.1


def main(launcher: int, news: int) -> int:
    """Trains as the flags of this process say, and returns the exit code.

    Args:
        launcher: the id of the process that has started this one.
        news: the file descriptor that news are written to; -1 for none. Standard error is for the last words, which the
            launcher tells.
    """
    threading.Thread(target=_end_after, args=(launcher,), name="launcher", daemon=True).start()
    if news < 0:
        return task.command(None)
    with open(news, "w", buffering=1, errors="backslashreplace", closefd=False) as stream:
        return task.command(stream)


def _end_after(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)


if __name__ == "__main__":
    launcher, news = int(sys.argv.pop(1)), int(sys.argv.pop(1))
    sys.exit(main(launcher, news))
