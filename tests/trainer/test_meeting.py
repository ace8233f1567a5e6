"""Processes meet, in threads with real sockets: all come, one is late or missing, or something else is there."""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from trainer import meeting
from trainer.cluster import Process, ProcessLost
from trainer.errors import UserError
from trainer.meeting import meet

SETTINGS = {"--seed": 1, "--sizes": (3, 4)}
LONG = 20.0  # seconds that nothing here takes, unless it hangs
SHORT = 0.4  # seconds after which a meeting in vain ends


def free_addresses(number, host="127.0.0.1"):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return tuple(f"{host}:{each.getsockname()[1]}" for each in sockets)


def meet_all(*processes, seconds=LONG, delays=(), settings=None, before=lambda number: None):
    """Each process calls `before` and meets the others in a thread of its own. Returns what each raises, or None."""
    ends = [RuntimeError("it hangs")] * len(processes)

    def run(number, process):
        time.sleep(delays[number] if delays else 0)
        before(number)
        try:
            meet(process, settings[number] if settings else SETTINGS, seconds)
            ends[number] = None
        except Exception as error:
            ends[number] = error

    threads = [threading.Thread(target=run, args=each, daemon=True) for each in enumerate(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG + 5)
    return ends


def group(number, **kwargs):
    addresses = free_addresses(number, **kwargs)
    return [Process(rank, addresses) for rank in range(number)]


def at_the_same_time(function, size, cases):
    """Calls a function with a group of so many processes and each case, all at once. Returns the results by case."""
    addresses = free_addresses(size * len(cases))  # all at once, so that no two are the same
    groups = [addresses[number :: len(cases)] for number in range(len(cases))]
    processes = [[Process(rank, group) for rank in range(size)] for group in groups]
    with ThreadPoolExecutor(len(cases)) as pool:
        return dict(zip(cases, pool.map(function, processes, cases), strict=True))


def is_free(process):
    """Whether TensorFlow can listen at the address of a process."""
    port = int(process.addresses[process.rank].rpartition(":")[2])
    with contextlib.suppress(OSError), socket.create_server(("", port)):
        return True
    return False


@pytest.mark.parametrize("number", [2, 3, 8])
def test_all_meet_and_the_addresses_are_free_again(number):
    processes = group(number)

    assert meet_all(*processes) == [None] * number
    assert all(map(is_free, processes))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_names_and_addresses_of_both_kinds(host):
    if host == "[::1]" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    assert meet_all(*group(2, host=host)) == [None] * 2


@pytest.mark.parametrize("late", range(3))
def test_one_that_comes_late_is_waited_for(late):
    delays = [0.0, 0.0, 0.0]
    delays[late] = 0.4
    start = time.monotonic()

    assert meet_all(*group(3), delays=delays) == [None] * 3
    assert 0.4 < time.monotonic() - start < 5.0


@pytest.mark.parametrize("missing", range(3))
def test_one_that_never_comes_is_named(missing):
    processes = group(3)
    come = [process for process in processes if process.rank != missing]
    start = time.monotonic()

    for end in meet_all(*come, seconds=SHORT):
        assert isinstance(end, ProcessLost)
        assert str(end).startswith(f"{processes[0].name(missing)} did not come within 0.4 s: expected all processes")
        assert "--resume" in str(end)
    assert time.monotonic() - start < SHORT + 3
    assert all(map(is_free, processes))


def test_all_that_are_missing_are_named():
    process = group(3)[0]

    (end,) = meet_all(process, seconds=SHORT)

    assert str(end).startswith(f"{process.name(1)}, {process.name(2)} did not come within 0.4 s")


def test_the_same_task_twice_on_one_machine():
    """The second finds the port in use. The first does not hear of it, and waits for the missing one."""
    first, missing = group(2)

    ends = meet_all(first, first, seconds=SHORT, delays=[0, 0.2])

    assert isinstance(ends[0], ProcessLost) and str(ends[0]).startswith(missing.name(1))
    assert type(ends[1]) is UserError
    assert f"{first.name(0)} cannot listen at port" in str(ends[1])
    assert "expected a free port" in str(ends[1])


def test_the_same_task_twice_on_two_machines():
    """Each machine has the addresses in another order, so both are the process 0 and find themselves at the other's."""
    a, b = free_addresses(2)

    ends = meet_all(Process(0, (a, b)), Process(0, (b, a)))

    assert all(type(end) is UserError for end in ends), ends
    assert all("says that it is process 0" in str(end) and "one process for each task" in str(end) for end in ends)


@pytest.mark.parametrize("settings, message", [
    ([{"--seed": 1}, {"--seed": 2}], "has --seed "),
    ([{"--seed": 1}, {}], "has --seed "),
    ([{"--seed": 1, "a dataset": "x"}, {"--seed": 1, "a dataset": "y"}], "has a dataset "),
    ([{"--rate": 0.1}, {"--rate": 0.2}], "has --rate "),
    ([{"--resume": True}, {"--resume": False}], "has --resume "),
], ids=str)  # fmt: skip
def test_other_settings_are_told(settings, message):
    ends = meet_all(*group(2), settings=settings, seconds=3)

    # Both find out, unless one has ended before the other has asked it.
    assert any(type(end) is UserError for end in ends), ends
    for end in ends:
        assert isinstance(end, ProcessLost) or (
            message in str(end) and "expected the same for all processes that train together" in str(end)
        ), end


def test_settings_that_json_does_not_keep_are_equal_all_the_same():
    settings = {"tuple": (1, (2,)), "text": "ü\n", "float": 0.1, "nothing": None}

    assert meet_all(*group(2), settings=[settings, dict(reversed(settings.items()))]) == [None] * 2


def test_a_process_with_other_addresses_is_told():
    addresses = free_addresses(3)

    ends = meet_all(Process(0, addresses[:2]), Process(1, addresses), seconds=SHORT)

    assert any("has the addresses [" in str(end) for end in ends), ends
    assert all(isinstance(end, UserError) for end in ends), ends


# Something else at an address


@contextlib.contextmanager
def server(address, answer):
    """A foreign server at an address. It calls `answer` with each connection, in a thread."""
    host, port = address.split(":")
    with socket.create_server((host, int(port))) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection):
            with connection, contextlib.suppress(OSError):
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(LONG)


FOREIGN = {
    "closes": lambda connection: None,
    "is silent": lambda connection: time.sleep(3),
    "echoes": lambda connection: connection.sendall(connection.recv(1 << 16)),
    "HTTP": lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "bytes": lambda connection: connection.sendall(bytes(range(256)) * 100),
    "no end": lambda connection: [connection.sendall(b"x" * (1 << 16)) for _ in range(1000)],
    "a drop at a time": lambda connection: [(connection.sendall(b"x"), time.sleep(0.5)) for _ in range(100)],
    "a list": lambda connection: connection.sendall(b"[1]\n"),
    "a number": lambda connection: connection.sendall(b"7\n"),
    "an empty object": lambda connection: connection.sendall(b"{}\n"),
    "half an object": lambda connection: connection.sendall(b'{"rank": 1, "set\n'),
    "deep": lambda connection: connection.sendall(b"[" * 100_000 + b"\n"),
    "no settings": lambda connection: connection.sendall(b'{"rank": 1}\n'),
    "other settings": lambda connection: connection.sendall(b'{"rank": 1, "settings": 3}\n'),
    "a list as a rank": lambda connection: connection.sendall(b'{"rank": [1], "settings": {}}\n'),
    "another rank": lambda connection: connection.sendall(b'{"rank": 7, "settings": {}}\n'),
    "a rank below": lambda connection: connection.sendall(b'{"rank": -1, "settings": {}}\n'),
}


@pytest.fixture(scope="module")
def beside_foreign_servers():
    def meet_foreign(processes, kind):
        start = time.monotonic()
        with server(processes[0].addresses[1], FOREIGN[kind]):
            (end,) = meet_all(processes[0], seconds=SHORT)
        return end, processes[0].addresses[1], time.monotonic() - start

    return at_the_same_time(meet_foreign, 2, FOREIGN)


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_server_at_the_address_of_another(kind, beside_foreign_servers):
    end, address, seconds = beside_foreign_servers[kind]

    assert isinstance(end, UserError), repr(end)
    assert "\n" not in str(end) and len(str(end)) < 600
    assert address in str(end) or "process " in str(end)
    assert seconds < SHORT + 5


PRETENDER = b'{"rank": 9, "settings": {}}\n'  # a caller who seems to be one of the processes
GARBAGE = [
    b"", b"\n", b"x" * 100, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00\xff\n", b"[]\n", b"3\n", b"{}\n",
    b"[" * 100_000 + b"\n", b'{"heard": 1}\n', b'{"rank": 9}\n',
    b'{"rank": "1", "settings": {}}\n', b'{"rank": 1, "settings": []}\n', PRETENDER,
    b'{"rank": 1, "settings": {}}\n{"heard": [1]}\n',
]  # fmt: skip


@pytest.fixture(scope="module")
def beside_garbage():
    return at_the_same_time(meet_disturbed, 3, GARBAGE)


def meet_disturbed(processes, sent):
    """What each process raises if somebody has sent something to the first before the others come."""
    address = processes[0].addresses[0].split(":")
    stays = []

    def disturb():
        deadline = time.monotonic() + LONG
        while len(stays) < 2 and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                connection = socket.create_connection(address, timeout=LONG)
                connection.sendall(sent)
                stays.append(connection)
                if sent == PRETENDER:
                    return
                if len(stays) == 1:
                    connection.close()  # the other one stays open
            time.sleep(0.01)

    disturber = threading.Thread(target=disturb, daemon=True)
    disturber.start()
    come = processes[:1] if sent == PRETENDER else processes
    ends = meet_all(*come, before=lambda number: disturber.join(LONG) if number else None)
    for connection in stays:
        connection.close()
    return ends, len(stays)


@pytest.mark.parametrize("sent", GARBAGE, ids=lambda sent: repr(sent[:30]))
def test_garbage_from_callers_ends_nothing_that_would_have_gone_on(sent, beside_garbage):
    """Callers that are none of the processes may be health checks or scanners. The meeting comes about anyhow."""
    ends, calls = beside_garbage[sent]

    if sent == PRETENDER:
        assert "has the addresses None" in str(ends[0])
    else:
        assert calls == 2 and ends == [None] * 3


def test_a_caller_who_tells_nothing_holds_nobody_up_for_long():
    """As many as this machine can hold open: each is given a little time, and the others come to pass meanwhile."""
    processes = group(2)
    host, port = processes[0].addresses[0].split(":")
    silent = []

    def call():
        deadline = time.monotonic() + LONG
        while len(silent) < 5 and time.monotonic() < deadline:
            try:
                silent.append(socket.create_connection((host, int(port)), timeout=LONG))
            except OSError:
                time.sleep(0.01)

    caller = threading.Thread(target=call, daemon=True)
    start = time.monotonic()
    caller.start()
    ends = meet_all(*processes, delays=[0, 0.3])
    caller.join(LONG)
    for connection in silent:
        connection.close()

    assert ends == [None, None]
    assert time.monotonic() - start < 3


def test_who_calls_in_the_end_is_not_kept_waiting():
    """TensorFlow of a process that has met all may call one that has not. It must find out at once that it is early."""
    first, second = group(2)
    host, port = first.addresses[0].split(":")
    ended = []

    def call(sent):
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                with socket.create_connection((host, int(port)), timeout=LONG) as connection:
                    connection.sendall(sent)
                    start = time.monotonic()
                    with contextlib.suppress(ConnectionResetError):
                        assert connection.recv(1) == b""
                    return ended.append(time.monotonic() - start)
            time.sleep(0.01)

    callers = [
        threading.Thread(target=call, args=(sent,), daemon=True) for sent in (b"", b"{", b"PRI * HTTP/2.0\r\n\r\n")
    ]
    for caller in callers:
        caller.start()

    assert meet_all(first, second, delays=[0, 0.2]) == [None, None]
    for caller in callers:
        caller.join(LONG)
    assert len(ended) == 3
    assert max(ended) < 1.5


def test_a_call_that_reaches_the_caller_itself_is_none(monkeypatch):
    """The system may give a call the port that it goes to, if nobody listens there and the port is in that range."""
    processes = group(2)
    real, calls = socket.create_connection, []

    def create_connection(address, timeout):
        calls.append(address)
        if len(calls) > 3:
            return real(address, timeout)
        connection = socket.socket()
        connection.bind(("127.0.0.1", 0))
        connection.connect(connection.getsockname())
        connection.settimeout(timeout)
        return connection

    monkeypatch.setattr(socket, "create_connection", create_connection)

    assert meet_all(*processes) == [None, None]
    assert len(calls) > 3


def test_a_process_that_goes_away_after_it_has_met_one_of_two_is_missed():
    """It answers the calls of one, but never calls. So nobody leaves in the belief that it has heard all."""
    process, other = group(2)
    hello = json.dumps({"rank": 1, "settings": {"the addresses": list(process.addresses), **SETTINGS}}) + "\n"

    def answer(connection):
        connection.recv(1 << 16)
        connection.sendall(hello.encode())
        connection.recv(1 << 16)

    with server(process.addresses[1], answer):
        (end,) = meet_all(process, seconds=SHORT)

    assert isinstance(end, ProcessLost)
    assert str(end).startswith(f"{other.name(1)} did not come within 0.4 s")


def test_a_name_that_does_not_exist_is_a_process_that_does_not_come():
    (address,) = free_addresses(1)

    (end,) = meet_all(Process(0, (address, "no-such-host.invalid:2222")), seconds=SHORT)

    assert isinstance(end, ProcessLost)
    assert str(end).startswith("process 1 of 2 (no-such-host.invalid:2222) did not come")


def test_an_address_that_swallows_calls_delays_nobody_beyond_the_time(monkeypatch):
    """Firewalls drop packets, so that a call is neither taken nor refused."""
    process = Process(0, (*free_addresses(1), "192.0.2.1:2222", "192.0.2.2:2222"))  # addresses for documentation
    monkeypatch.setattr(meeting, "_SECONDS_TO_ANSWER", 0.3)
    start = time.monotonic()

    (end,) = meet_all(process, seconds=SHORT)

    assert isinstance(end, ProcessLost)
    assert time.monotonic() - start < SHORT + 3


def test_a_port_that_is_in_use_is_told_at_once():
    process, _ = group(2)
    port = int(process.addresses[0].split(":")[1])
    start = time.monotonic()

    with socket.create_server(("", port)):
        (end,) = meet_all(process)

    assert type(end) is UserError
    assert str(end).startswith(f"process 0 of 2 ({process.addresses[0]}) cannot listen at port {port} (")
    assert time.monotonic() - start < 3
