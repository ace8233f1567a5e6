"""Makes something happen at a file operation of a program: a signal, or an error as TensorFlow raises it.

It replaces functions of TensorFlow in a process that runs a program only once. The program needs no hooks for it.
"""

import errno
import functools
import itertools
import os
import signal
from collections.abc import Callable
from typing import Any

REACHED = "at the call: "  # what is printed then
ERRORS = {  # as TensorFlow maps the system's errors
    "ENOSPC": "ResourceExhaustedError",
    "EDQUOT": "ResourceExhaustedError",
    "EROFS": "PermissionDeniedError",
    "EACCES": "PermissionDeniedError",
    "ESTALE": "AbortedError",
    "EIO": "UnknownError",
    "ENOTCONN": "FailedPreconditionError",
}
# The functions that change files. TensorFlow's own code calls those of file_io, the program calls gfile's.
FILE_IO = (
    "atomic_write_string_to_file", "copy_v2", "delete_file_v2", "delete_recursively_v2", "recursive_create_dir_v2",
    "rename_v2",
)  # fmt: skip
GFILE = ("GFile", "copy", "makedirs", "remove", "rename", "rmtree")


def install(call: int, action: str) -> None:
    """Lets an action happen just before one of the program's file operations.

    Args:
        call: the number of the operation, counted from 1.
        action: the name of a signal, which the process sends itself, or of an error of the system.
    """
    import tensorflow as tf
    from tensorflow.io import gfile
    from tensorflow.python.lib.io import file_io

    numbers = itertools.count(1)

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            changes = function is not gfile_class or "w" in str(args[1:] or kwargs.get("mode", ""))
            if changes and next(numbers) == call:
                _act(action, args[0] if args else "", tf.errors)
            return function(*args, **kwargs)

        return wrapper

    gfile_class = gfile.GFile
    for module, names in ((file_io, FILE_IO), (gfile, GFILE)):
        for name in names:
            setattr(module, name, before(getattr(module, name)))


def _act(action: str, path: Any, errors: Any) -> None:
    print(f"{REACHED}{action} {path}", flush=True)
    if action in ERRORS:
        raise getattr(errors, ERRORS[action])(None, None, f"{path}; {os.strerror(getattr(errno, action))}")
    os.kill(os.getpid(), getattr(signal, action))
