"""The exception for mistakes that the user can correct, and the errors of others that tell of such a mistake."""

import errno
import os
import re
from collections.abc import Iterator

_OTHER_PLACE = "free some, or name another directory"
_UNREACHABLE = "the file system cannot be reached: check that it is there, and start again"
# What each error of the file system means, and what to do. Those of the first table tell enough without a path.
_STORAGE = {
    errno.ENOSPC: f"no space is left on the device: {_OTHER_PLACE}",
    errno.EDQUOT: f"the quota of disk space is used up: {_OTHER_PLACE}",
    errno.EROFS: "the file system is read-only: expected a directory that can be written to",
    errno.EFBIG: "the file is larger than allowed: raise the limit (ulimit -f), or name another directory",
    errno.EIO: "the device reports an input/output error: check it, or name another directory",
    errno.ESTALE: "the network file system no longer knows the file: mount it anew, and start again",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine: end other programs, or raise its limit",
}
_STORAGE_OF_PATH = {
    errno.EACCES: "permission is denied: change the permissions, or name another file or directory",
    errno.EPERM: "the operation is not permitted: change the permissions, or name another file or directory",
    errno.ENAMETOOLONG: "the name is too long: expected a shorter one",
    **dict.fromkeys((errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT, errno.EHOSTDOWN), _UNREACHABLE),
}
_OUT_OF_MEMORY = (
    "the memory is used up: free some, raise the limit (ulimit -v, the container's), or ask for less at once"
)

_CODES = {os.strerror(code): code for code in _STORAGE | _STORAGE_OF_PATH}
_TEXTS = "|".join(map(re.escape, _CODES))
# Python writes "OSError: [Errno 28] No space left on device: '/a/b'", and leaves the path out where it knows none.
_OS_ERROR = re.compile(r"(?:^|\s)[\w.]+: \[Errno (\d+)\] [^:'\"\n\[]*(?:: b?(['\"])(.+?)\2)?", re.MULTILINE)
# TensorFlow writes "...ResourceExhaustedError: {{function_node ...}} /a/b; No space left on device [Op:SaveV2]".
_TENSORFLOW_ERROR = re.compile(rf"\berrors_impl\.\w+: (?:\{{\{{.*?\}}\}} )?([^;\n]*); ({_TEXTS})")
_MEMORY_ERROR = re.compile(
    r"(?:^|[\s._])(?:Array|Arrow)?MemoryError\b|: \[Errno 12\]|\bstd::bad_alloc\b|\bOOM when allocating\b"
    r"|\bOut of memory (?:allocating|while trying)|RuntimeError: can't start new thread"
    r"|: failed to map segment from shared object"
)


class UserError(Exception):
    """A mistake in a flag or in a file. Its message names the flag or file, the value, and what would be right.

    The message is always one line: control characters, which a path may hold, are shown as Python writes them.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def user_message(error: BaseException) -> str | None:
    """One line about an error that the user can mend, or None if the error is of another kind.

    Such errors are a UserError, a failure of the storage, for example a full disk, and a lack of memory. A runner
    passes a worker's exception on as the text of its traceback, so all are searched for in the text of the error.

    Args:
        error: what was raised.
    """
    if isinstance(error, UserError):
        return str(error).partition(" [while running")[0]  # Beam has added the step that it was raised in
    text = "\n".join(_texts(error))
    if found := re.search(r"UserError: (.*?)(?: \[while running|\n|$)", text):
        return found.group(1)
    return _storage_message(text) or (_OUT_OF_MEMORY if _MEMORY_ERROR.search(text) else None)


def _texts(error: BaseException) -> Iterator[str]:
    """The error and those that it was raised from, as a traceback names them."""
    cause: BaseException | None = error
    while cause is not None:
        yield f"{type(cause).__module__}.{type(cause).__qualname__}: {cause}"
        cause = cause.__cause__


def _storage_message(text: str) -> str | None:
    for found in _OS_ERROR.finditer(text):
        number, _, path = found.groups()
        if message := _meaning(int(number), path or ""):
            return message
    for found in _TENSORFLOW_ERROR.finditer(text):
        path, reason = found.groups()
        if message := _meaning(_CODES[reason], path.strip()):
            return message
    return None


def _meaning(code: int, path: str) -> str | None:
    if path:
        meaning = (_STORAGE | _STORAGE_OF_PATH).get(code)
        return f"{path}: {meaning}" if meaning else None
    return _STORAGE.get(code)
