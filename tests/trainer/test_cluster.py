"""TF_CONFIG: which process this is, and one line for every value that makes no sense."""

import json

import pytest

from trainer.cluster import VARIABLE, Process, process_of, split_address
from trainer.errors import UserError

A, B, C = "host0:2222", "host1:2222", "[2001:db8::1]:2222"


def value(task="worker", index=0, **cluster):
    """A value of TF_CONFIG."""
    return json.dumps({"cluster": cluster, "task": {"type": task, "index": index}})


WORKERS = value(worker=[A, B, C])


@pytest.mark.parametrize("text, expected", [
    (value(index=0, worker=[A, B]), Process(0, (A, B))),
    (value(index=1, worker=[A, B]), Process(1, (A, B))),
    (value(index="2", worker=[A, B, C]), Process(2, (A, B, C))),  # Vertex AI writes a number, others a string
    (value("chief", 0, chief=[A], worker=[B, C]), Process(0, (A, B, C))),
    (value("worker", 0, chief=[A], worker=[B, C]), Process(1, (A, B, C))),
    (value("worker", 1, chief=[A], worker=[B, C]), Process(2, (A, B, C))),
    (value("worker", 1, worker=[B, C], chief=[A]), Process(2, (A, B, C))),
    (value("worker", 1, worker=[A, B], chief=[], ps=[], evaluator=[]), Process(1, (A, B))),
    (json.dumps({"cluster": {"worker": [A, B]}}), Process(0, (A, B))),
    (json.dumps({"cluster": {"worker": [A, B]}, "task": {"index": 1}, "environment": "cloud"}), Process(1, (A, B))),
    (f"\n {value(index=1, worker=[A, B])} \n", Process(1, (A, B))),
])  # fmt: skip
def test_the_process_that_tf_config_describes(text, expected):
    assert process_of({VARIABLE: text}) == expected


@pytest.mark.parametrize("text", [
    None, "", "  ", "{}", '{"cluster": {}}', '{"cluster": null, "task": null}', '{"task": {"type": "worker"}}',
    value(worker=[A]), value("chief", 0, chief=[A]), value("chief", 0, chief=[A], worker=[]), value(worker=[]),
])  # fmt: skip
def test_no_cluster(text):
    assert process_of({} if text is None else {VARIABLE: text, "OTHER": WORKERS}) is None


NO_OBJECT = "is '{text}': expected a JSON object such as"
WRONG = [
    # What is no object of this form
    *((text, NO_OBJECT) for text in ("{", "worker", "[]", "3", "null", '"worker"', "true", "[" * 200_000)),
    ('{"cluster": 3}', NO_OBJECT), ('{"cluster": "x"}', NO_OBJECT), ('{"cluster": ["a:1", "b:1"]}', NO_OBJECT),
    ('{"cluster": {"worker": 3}}', NO_OBJECT), ('{"cluster": {"worker": null}}', NO_OBJECT),
    ('{"cluster": {"worker": "host0:2222"}}', NO_OBJECT),
    ('{"cluster": {"worker": {"0": "a:1", "1": "b:1"}}}', NO_OBJECT),
    ('{"cluster": {"worker": ["a:1", 3]}}', NO_OBJECT), ('{"cluster": {"worker": ["a:1", null]}}', NO_OBJECT),
    ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": 3}', NO_OBJECT),
    ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": [1]}', NO_OBJECT),
    *((value(index=index, worker=[A, B]), NO_OBJECT) for index in ("one", None, [0], 0.5, float("inf"), float("nan"))),
    # Jobs that this trainer does not have
    (value(worker=[A], ps=[B]), "has the job 'ps' in its cluster: expected chief and worker alone"),
    (value(worker=[A, B], evaluator=[C]), "has the job 'evaluator' in its cluster"),
    (value("master", 0, master=[A], worker=[B]), "has the job 'master' in its cluster"),
    (value(**{"wor\nker": [A, B]}), r"has the job 'wor\nker' in its cluster"),
    # Addresses
    (value("chief", 0, chief=[A, B], worker=[C]), "has 2 chiefs: expected one"),
    (value(worker=[A, B, A]), f"has the address {A} twice: expected one for each process"),
    (value(chief=[A], worker=[B, A]), f"has the address {A} twice"),
    *((value(worker=[A, wrong]), f"has the address {wrong!r}: expected host:port with a port from 1 to 65535")
      for wrong in ("host1", "host1:", ":2222", "host1:0", "host1:65536", "host1:-1", "host1:http", "host1:22.5", "",
                    "host1:2222/", "host1: 2222", "host 1:2222", "ho\nst:2222", "grpc://host1:2222", "::1:2222",
                    "host1:٢")),
    # Tasks that the cluster does not have
    (value(index=2, worker=[A, B]), "says that this is worker 2, but its cluster has 2 of the type worker: expected a "
     "task of the cluster, counted from 0"),
    (value(index=-1, worker=[A, B]), "says that this is worker -1"),
    (value("chief", 0, worker=[A, B]), "says that this is chief 0, but its cluster has 2 of the type worker"),
    (value("chief", 1, chief=[A], worker=[B]), "its cluster has 1 of the type chief and 1 of the type worker"),
    (value("worker", 1, chief=[A], worker=[B]), "says that this is worker 1"),
    (value("evaluator", 0, chief=[A], worker=[B]), "says that this is evaluator 0"),
    (value("wor\nker", 0, worker=[A, B]), "says that this is "),
]  # fmt: skip


@pytest.mark.parametrize("text, message", WRONG, ids=[text[:60] for text, _ in WRONG])
def test_a_value_that_makes_no_sense_is_one_line(text, message):
    with pytest.raises(UserError) as error:
        process_of({VARIABLE: text})

    told = str(error.value)
    assert told.startswith(f"the environment variable {VARIABLE} ")
    assert message.replace("{text}", text[:200]) in told
    assert "\n" not in told
    assert len(told) < 600


@pytest.mark.parametrize("process", [Process(0, (A, B)), Process(2, (A, B, C))])
def test_tf_config_round_trip(process):
    assert process_of({VARIABLE: process.tf_config()}) == process


@pytest.mark.parametrize("address, expected", [(A, ("host0", 2222)), (C, ("[2001:db8::1]", 2222)), ("h:1", ("h", 1))])
def test_an_address_is_a_host_and_a_port(address, expected):
    assert split_address(address) == expected


def test_the_processes_of_machines_with_several_devices_have_ports_in_a_row():
    machines = ("a:2000", "b:3000", C)
    addresses = ("a:2000", "a:2001", "b:3000", "b:3001", C, C[:-1] + "3")

    for rank in range(3):
        processes = Process(rank, machines).divided(2)
        assert processes == (Process(2 * rank, addresses), Process(2 * rank + 1, addresses))
    assert Process(1, machines).divided(1) == (Process(1, machines),)


def test_machines_on_one_host_must_leave_room_for_each_others_ports():
    assert Process(0, ("a:2000", "a:2002")).divided(2)[0].addresses == ("a:2000", "a:2001", "a:2002", "a:2003")
    with pytest.raises(UserError, match=r"--devices 2: .*a:2001"):
        Process(0, ("a:2000", "a:2001")).divided(2)


def test_ports_end_at_65535():
    assert Process(0, (A, "b:65532")).divided(4)[0].addresses[-1] == "b:65535"
    with pytest.raises(UserError, match=r"--devices 4: TF_CONFIG has the address b:65533, .* a port up to 65532$"):
        Process(0, (A, "b:65533")).divided(4)


def test_a_message_names_a_process_by_its_number_and_address():
    assert Process(0, (A, B)).name(1) == f"process 1 of 2 ({B})"
