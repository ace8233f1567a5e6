"""Which errors are told in one line: those that the user can mend, however they arrive. A bug keeps its traceback."""

import errno
import importlib
import os
import traceback

import pytest
import tensorflow as tf

NO_SPACE = "no space is left on the device: free some, or name another directory"
OUT_OF_MEMORY = (
    "the memory is used up: free some, raise the limit (ulimit -v, the container's), or ask for less at once"
)


@pytest.fixture(params=["pipeline", "trainer"])
def errors(request):
    return importlib.import_module(f"{request.param}.errors")


def as_beam_wraps_it(error, step="Write/ParDo(Write)"):
    """What a runner raises in the launcher: the traceback of the worker as text, and in it Beam's note of the step."""
    try:
        try:
            raise error
        except Exception as inner:
            last_line = traceback.format_exception_only(inner)[-1].strip()
            raise RuntimeError(f"{last_line} [while running '{step}']").with_traceback(inner.__traceback__) from None
    except RuntimeError as outer:
        text = "".join(traceback.format_exception(outer))
    return RuntimeError(f"bundle inst003 stage-007 failed:{text}\nand more lines\n")


def os_error(code, *path):
    return OSError(code, os.strerror(code), *path)


def tensorflow_error(name, message):
    return getattr(tf.errors, name)(None, None, message)


def raised_from(cause):
    error = ValueError("the export failed")
    error.__cause__ = cause
    return error


STORAGE = [
    (os_error(errno.ENOSPC, "/a/b c"), f"/a/b c: {NO_SPACE}"),
    (os_error(errno.ENOSPC), NO_SPACE),
    (os_error(errno.ENOSPC, b"/a"), f"/a: {NO_SPACE}"),
    (os_error(errno.ENOSPC, "/it's"), f"/it's: {NO_SPACE}"),
    (os_error(errno.ENOSPC, "/ü語"), f"/ü語: {NO_SPACE}"),
    (os_error(errno.EDQUOT, "/a"), "/a: the quota of disk space is used up: free some, or name another directory"),
    (os_error(errno.EROFS, "/a"), "/a: the file system is read-only: expected a directory that can be written to"),
    (os_error(errno.EACCES, "/a"), "/a: permission is denied: change the permissions, or name another"),
    (os_error(errno.EPERM, "/a", None, "/b"), "/a: the operation is not permitted: change"),
    (os_error(errno.EFBIG), "the file is larger than allowed: raise the limit"),
    (os_error(errno.EIO), "the device reports an input/output error: check it"),
    (os_error(errno.ESTALE, "/a"), "/a: the network file system no longer knows the file: mount it anew"),
    (os_error(errno.ENOTCONN, "/a"), "/a: the file system cannot be reached: check that it is there"),
    (os_error(errno.EMFILE), "too many files are open: raise the limit (ulimit -n)"),
    (os_error(errno.ENAMETOOLONG, "/a"), "/a: the name is too long: expected a shorter one"),
    (tensorflow_error("ResourceExhaustedError", "/x/y z; No space left on device"), f"/x/y z: {NO_SPACE}"),
    (tensorflow_error("ResourceExhaustedError", "; No space left on device"), NO_SPACE),
    (
        tensorflow_error(
            "ResourceExhaustedError",
            "{{function_node __wrapped__SaveV2_dtypes_3_device_/job:localhost}} /m/ckpt-1.data; "
            "No space left on device [Op:SaveV2] name: ",
        ),
        f"/m/ckpt-1.data: {NO_SPACE}",
    ),
    (tensorflow_error("PermissionDeniedError", "/x; Read-only file system"), "/x: the file system is read-only"),
    (tensorflow_error("PermissionDeniedError", "/x; Permission denied"), "/x: permission is denied"),
    (tensorflow_error("AbortedError", "/x; Stale file handle"), "/x: the network file system no longer"),
    (tensorflow_error("UnknownError", "/x; Input/output error"), "/x: the device reports an input/output error"),
    (tensorflow_error("OutOfRangeError", "/x; File too large"), "/x: the file is larger than allowed"),
    (tensorflow_error("FailedPreconditionError", "/x; Transport endpoint is not connected"), "/x: the file system can"),
]  # fmt: skip
MEMORY = [
    MemoryError(),
    MemoryError("Unable to allocate 3.00 GiB for an array"),
    tensorflow_error("ResourceExhaustedError", "OOM when allocating tensor with shape[1000,300] [Op:Mul]"),
    tensorflow_error("ResourceExhaustedError", "Out of memory allocating 1234 bytes."),
    os_error(errno.ENOMEM),
    RuntimeError("can't start new thread"),
    RuntimeError("std::bad_alloc"),
    ImportError("libtensorflow_cc.so.2: failed to map segment from shared object"),
]
BUGS = [
    ValueError("memory"),
    KeyError("/a"),
    os_error(errno.ENOENT, "/a"),
    os_error(errno.EPERM),  # of a process, say
    os_error(errno.ETIMEDOUT),  # of a connection, say
    os_error(errno.EACCES),
    ValueError("it says [Errno 28] in a text"),
    ValueError("'x; Permission denied' is no path"),
    tensorflow_error("InvalidArgumentError", "shapes [1] and [2] differ"),
    tensorflow_error("OutOfRangeError", "End of sequence"),
    RuntimeError("the job ended as FAILED"),
    AssertionError(),
]


@pytest.mark.parametrize("wrap", [lambda error: error, as_beam_wraps_it, raised_from])
@pytest.mark.parametrize(("error", "expected"), STORAGE, ids=lambda value: str(value)[:40])
def test_a_failure_of_the_storage_is_told_with_its_path(errors, error, expected, wrap):
    message = errors.user_message(wrap(error))

    assert message is not None
    assert message.startswith(expected)
    assert "\n" not in message


@pytest.mark.parametrize("wrap", [lambda error: error, as_beam_wraps_it, raised_from])
@pytest.mark.parametrize("error", MEMORY, ids=repr)
def test_a_lack_of_memory_is_told(errors, error, wrap):
    assert errors.user_message(wrap(error)) == OUT_OF_MEMORY


def test_arrays_that_do_not_fit_are_a_lack_of_memory(errors):
    np = pytest.importorskip("numpy")
    with pytest.raises(MemoryError) as raised:
        np.empty(2**60, np.int8)

    assert errors.user_message(raised.value) == OUT_OF_MEMORY
    assert errors.user_message(as_beam_wraps_it(raised.value)) == OUT_OF_MEMORY


@pytest.mark.parametrize("wrap", [lambda error: error, as_beam_wraps_it, raised_from])
@pytest.mark.parametrize("error", BUGS, ids=repr)
def test_a_bug_keeps_its_traceback(errors, error, wrap):
    assert errors.user_message(wrap(error)) is None


def test_a_users_mistake_is_found_however_it_arrives(errors):
    mistake = errors.UserError("--input x: expected y")
    wrapped = errors.UserError(f"{mistake} [while running 'Read']")

    for error in (mistake, as_beam_wraps_it(mistake), as_beam_wraps_it(wrapped), raised_from(mistake)):
        assert errors.user_message(error) == "--input x: expected y"


@pytest.mark.parametrize("wrap", [lambda error: error, as_beam_wraps_it])
def test_a_message_is_one_line_whatever_a_path_holds(errors, wrap):
    mistake = errors.UserError("--input a\nb\r\x1b[31mü 語: expected c")

    assert errors.user_message(wrap(mistake)) == r"--input a\nb\r\x1b[31mü 語: expected c"
    assert errors.user_message(wrap(os_error(errno.ENOSPC, "a\nb"))) == rf"a\nb: {NO_SPACE}"
