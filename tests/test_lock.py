"""One run at a time in a directory: by the system's locks, and by leases where there are none."""

import contextlib
import errno
import fcntl
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOLDER = """
import sys
from {package}.lock import locked
with locked({directory!r}, "--output"):
    print("held", flush=True)
{more}
    sys.stdin.read()
"""
FORK = """
    import os, time
    child = os.fork()
    if not child:
        print(os.getpid(), flush=True)
        time.sleep(60)
"""


@pytest.fixture(params=["pipeline", "trainer"])
def package(request):
    return request.param


@pytest.fixture
def lock(package):
    return importlib.import_module(f"{package}.lock")


@pytest.fixture
def user_error(package):
    return importlib.import_module(f"{package}.errors").UserError


@contextlib.contextmanager
def holder(package, directory, more=""):
    """Another process, which has locked the directory until its standard input ends."""
    script = HOLDER.format(package=package, directory=str(directory), more=more)
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_free_directory_is_locked_and_left_as_it_was(lock, tmp_path):
    for _ in range(2):
        with lock.locked(str(tmp_path), "--output"):
            assert os.listdir(tmp_path) == [lock.LOCK_FILE]
        assert not os.listdir(tmp_path)


def test_a_second_run_is_told_who_has_the_directory(lock, package, user_error, tmp_path):
    with holder(package, tmp_path) as process:
        with pytest.raises(user_error) as raised, lock.locked(str(tmp_path), "--output"):
            pass
        assert re.fullmatch(
            rf"--output {tmp_path} is in use by process {process.pid} on host \S+, since [-\d]+ [\d:]+ UTC "
            r"\(python\S* -c .*\.\.\.\): expected one run at a time; wait for it, or name another directory",
            str(raised.value),
        )
        process.communicate(timeout=10)  # it ends

        with lock.locked(str(tmp_path), "--output"):
            pass


def test_a_lock_dies_with_its_owner(lock, package, tmp_path):
    with holder(package, tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert os.listdir(tmp_path) == [lock.LOCK_FILE]

        with lock.locked(str(tmp_path), "--output"):
            assert json.loads((tmp_path / lock.LOCK_FILE).read_text())["pid"] == os.getpid()
        assert not os.listdir(tmp_path)


def test_a_forked_process_of_a_killed_owner_does_not_keep_the_lock(lock, package, tmp_path):
    with holder(package, tmp_path, FORK) as process:
        child = int(process.stdout.readline())
        try:
            process.kill()
            process.wait()

            with lock.locked(str(tmp_path), "--output"):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_file_that_its_owner_removes_meanwhile_is_no_lock(lock, user_error, tmp_path, monkeypatch):
    path = tmp_path / lock.LOCK_FILE
    calls = []

    def flock(descriptor, operation):
        if not calls:  # the owner ends just now
            path.unlink()
        calls.append(descriptor)
        fcntl.flock(descriptor, operation)

    monkeypatch.setattr(lock, "fcntl", types.SimpleNamespace(**{**vars(fcntl), "flock": flock}))
    with lock.locked(str(tmp_path), "--output"):
        assert path.exists()
        with pytest.raises(user_error), lock.locked(str(tmp_path), "--output"):
            pass


def test_the_lock_ends_with_an_error(lock, tmp_path):
    with pytest.raises(ValueError), lock.locked(str(tmp_path), "--output"):
        raise ValueError
    assert not os.listdir(tmp_path)


def test_a_directory_that_is_removed_meanwhile_is_no_error(lock, tmp_path):
    directory = tmp_path / "output"
    directory.mkdir()
    with lock.locked(str(directory), "--output"):
        (directory / lock.LOCK_FILE).unlink()
        directory.rmdir()


def test_of_many_threads_one_at_a_time_has_the_lock(lock, user_error, tmp_path):
    """Each makes and removes the lock file, so that others open files that are gone a moment later."""
    inside, most, taken = [], [], []

    def try_often():
        for _ in range(200):
            with contextlib.suppress(user_error), lock.locked(str(tmp_path), "--output"):
                inside.append(1)
                most.append(len(inside))
                taken.append(1)
                inside.pop()

    lock_time = lock._owner_in
    lock._owner_in = lambda path: {}  # does not wait for the owner to write its name
    try:
        threads = [threading.Thread(target=try_often) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        lock._owner_in = lock_time

    assert max(most) == 1
    assert len(taken) > 10
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"pid": 1}', b'{"pid":1,"host":"h","since":"x","command":"c"}']
)
def test_an_owner_that_cannot_be_read_is_another_run(lock, user_error, tmp_path, content):
    (tmp_path / lock.LOCK_FILE).write_bytes(content)
    with open(tmp_path / lock.LOCK_FILE) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(user_error, match="in use by another run: expected"), lock.locked(str(tmp_path), "--output"):
            pass


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EIO])
def test_a_directory_that_cannot_be_written_to_is_told_in_one_line(lock, user_error, tmp_path, monkeypatch, code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lock.os, "open", fail)
    message = rf"--data {tmp_path} cannot be written to \({os.strerror(code)}\): expected a directory"
    with pytest.raises(user_error, match=message), lock.locked(str(tmp_path), "--data"):
        pass


def test_a_message_is_one_line_of_moderate_length(lock, monkeypatch, tmp_path):
    monkeypatch.setattr(lock.sys, "orig_argv", ["/usr/bin/python", "-m", "program", "--output", "a\nb", "x" * 1000])
    text = lock._in_use("--output", "dir", lock._this_run())
    assert "(python -m program --output a\nb xxx" in text
    assert len(text) < 400


# Leases


@pytest.fixture
def lease(lock, tmp_path):
    def make(**times):
        times = {"renew_seconds": 0.05, "expiry_seconds": 0.5, "settle_seconds": 0.05, **times}
        return lock.Lease(str(tmp_path), "--output", **times)

    return make


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def renewed(lock, directory):
    """When the lease was renewed last; 0 if it is just being written."""
    return lock._parsed((directory / lock.LOCK_FILE).read_text()).get("renewed", 0)


def write_lease(lock, directory, age, **fields):
    owner = {"host": "h", "pid": 1, "since": 0, "command": "c", "token": "other", "renewed": time.time() - age}
    (directory / lock.LOCK_FILE).write_text(json.dumps({**owner, **fields}))


def test_a_directory_without_locks_gets_a_lease(lock, monkeypatch, tmp_path):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "fcntl", types.SimpleNamespace(**{**vars(fcntl), "flock": fail}))
    monkeypatch.setattr(lock.Lease.__init__, "__kwdefaults__", {
        "renew_seconds": 1, "expiry_seconds": 10, "settle_seconds": 0
    })  # fmt: skip
    with lock.locked(str(tmp_path), "--output"):
        assert "renewed" in json.loads((tmp_path / lock.LOCK_FILE).read_text())
    assert not os.listdir(tmp_path)


def test_a_lease_is_held_against_others_renewed_and_released(lock, user_error, lease, tmp_path):
    with lease().held():
        first = renewed(lock, tmp_path) or time.time()
        wait_until(lambda: renewed(lock, tmp_path) > first)
        other = lease(expiry_seconds=60)
        with pytest.raises(user_error, match=f"in use by process {os.getpid()} on host"), other.held():
            pass
    assert not os.listdir(tmp_path)


def test_an_old_lease_is_taken_over_and_a_young_one_is_not(lock, user_error, lease, tmp_path):
    write_lease(lock, tmp_path, age=60)
    message = r"in use by process 1 on host h, since 1970-01-01 00:00 UTC \(c\)"
    with pytest.raises(user_error, match=message), lease(expiry_seconds=120).held():
        pass

    write_lease(lock, tmp_path, age=121)
    with lease(expiry_seconds=120).held():
        assert json.loads((tmp_path / lock.LOCK_FILE).read_text())["pid"] == os.getpid()


def test_a_lease_that_its_owner_removes_as_it_is_read_is_none(lock, lease, tmp_path, monkeypatch):
    from tensorflow.io import gfile

    real, path = gfile.GFile, tmp_path / lock.LOCK_FILE
    write_lease(lock, tmp_path, age=0)

    def open_file(name, mode):
        if path.exists() and json.loads(path.read_text())["token"] == "other":
            path.unlink()
        return real(name, mode)

    monkeypatch.setattr(gfile, "GFile", open_file)
    with lease().held():
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not os.listdir(tmp_path)


def test_of_two_that_start_together_the_one_that_wrote_last_goes_on(lock, user_error, lease, tmp_path):
    both, one_by_one = threading.Barrier(2), threading.Lock()
    results = []

    def run():
        mine = lease(settle_seconds=0, renew_seconds=60)
        write = mine._write

        def write_together():
            both.wait(30)
            with one_by_one:  # an object is written as a whole
                write()
            both.wait(30)  # for them, the time to settle is long enough

        mine._write = write_together
        try:
            with mine.held():
                results.append("held")
        except user_error:
            results.append("refused")

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["held", "refused"]


@pytest.mark.parametrize("remains", [True, False])
def test_a_run_that_lost_its_lease_fails_and_leaves_the_others(lock, user_error, lease, tmp_path, remains):
    mine = lease()

    def is_lost():
        if remains:
            write_lease(lock, tmp_path, age=0)
        else:
            (tmp_path / lock.LOCK_FILE).unlink(missing_ok=True)
        return mine._lost is not None

    with pytest.raises(user_error, match="was taken over by .*: expected one run at a time"), mine.held():
        wait_until(is_lost)  # again and again, because the lease may just be renewed
    assert os.listdir(tmp_path) == [lock.LOCK_FILE] * remains


def test_a_store_that_is_out_of_reach_for_a_moment_is_tried_again(lock, lease, tmp_path):
    mine = lease()
    read = mine._read
    with mine.held():
        failed = threading.Event()

        def fail_once():
            mine._read = read
            failed.set()
            raise OSError("unreachable")

        mine._read = fail_once
        assert failed.wait(30)
        before = time.time()
        wait_until(lambda: renewed(lock, tmp_path) > before)


def test_an_object_store_is_never_locked_by_the_file_system(lock, monkeypatch):
    held = []
    monkeypatch.setattr(lock.Lease, "held", lambda lease: contextlib.nullcontext(held.append(lease._path)))
    with lock.locked("gs://bucket/dir/", "--output"):
        pass
    assert held == ["gs://bucket/dir/.lock"]
