"""The processes that train together, as the environment variable TF_CONFIG lists them.

TensorFlow, Vertex AI and Kubernetes operators agree on its form:

    {"cluster": {"chief": ["host:port"], "worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}

It lists the address of every process, and says which of them this process is. The first is the chief, which alone
prints, logs and exports. Without the job "chief", worker 0 is the chief.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.errors import UserError

VARIABLE = "TF_CONFIG"
LOST = "which ends all: look at what it has written"  # ends the line of a process that has lost another one
RESUME = "the same command with --resume goes on from the last checkpoint, if there is one"
_EXPECTED = (
    'expected a JSON object such as {"cluster": {"worker": ["host0:2222", "host1:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
_JOBS = ("chief", "worker")
_ADDRESS = re.compile(r"([^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")  # an IPv6 address is in brackets
_HIGHEST_PORT = 65535


class ProcessLost(UserError):
    """Another process has ended, or did not come. That is no mistake in a flag, so the exit code is 1."""


@dataclass(frozen=True)
class Process:
    """One of the processes that train together.

    Args:
        rank: its number; the chief has 0.
        addresses: "host:port" of every process, by rank.
    """

    rank: int
    addresses: tuple[str, ...]

    @property
    def size(self) -> int:
        """The number of processes."""
        return len(self.addresses)

    @property
    def size_here(self) -> int:
        """The number of processes on this machine."""
        hosts = [split_address(address)[0] for address in self.addresses]
        return hosts.count(hosts[self.rank])

    def name(self, rank: int) -> str:
        """What messages call the process with a rank."""
        return f"process {rank} of {self.size} ({self.addresses[rank]})"

    def tf_config(self) -> str:
        """The value of TF_CONFIG that describes this process."""
        task = {"type": "worker", "index": self.rank}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})

    def divided(self, devices: int) -> tuple["Process", ...]:
        """The processes of this machine, if `addresses` are those of machines with so many devices each.

        There is one process for each device. A machine's processes have its port and those that follow.

        Raises:
            UserError: there are not enough ports behind that of the address.
        """
        addresses = []
        for address in self.addresses:
            host, port = split_address(address)
            if port + devices - 1 > _HIGHEST_PORT:
                raise UserError(
                    f"--devices {devices}: {VARIABLE} has the address {address}, and the processes of a machine need "
                    f"as many ports in a row: expected a port up to {_HIGHEST_PORT + 1 - devices}"
                )
            addresses += [f"{host}:{port + device}" for device in range(devices)]
        if repeated := _repeated(addresses):
            raise UserError(
                f"--devices {devices}: {VARIABLE} has addresses so close that {repeated} would be of two processes: a "
                "machine's processes listen at its port and at those that follow, so expected ports further apart"
            )
        first = self.rank * devices
        return tuple(Process(rank, tuple(addresses)) for rank in range(first, first + devices))


def process_of(environment: Mapping[str, str]) -> Process | None:
    """The process that TF_CONFIG describes, or None if it is not set or names one process only.

    Raises:
        UserError: the value makes no sense, or names jobs that this trainer does not have.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        value = json.loads(text)
        cluster, task = value.get("cluster") or {}, value.get("task") or {}
        jobs = {job: _addresses(addresses) for job, addresses in cluster.items()}
        kind, index = str(task.get("type", "worker")), int(str(task.get("index", 0)))  # int alone would round 0.5
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"the environment variable {VARIABLE} is {text[:200]!r}: {_EXPECTED}") from error
    if others := sorted({job for job in jobs if jobs[job]} - {*_JOBS}):
        raise UserError(
            f"the environment variable {VARIABLE} has the job {others[0]!r} in its cluster: expected chief and worker "
            "alone, since every process of this trainer holds a part of the vectors"
        )
    addresses = tuple(address for job in _JOBS for address in jobs.get(job, []))
    if len(addresses) <= 1:
        return None
    if len(jobs.get("chief", [])) > 1:
        raise UserError(f"the environment variable {VARIABLE} has {len(jobs['chief'])} chiefs: expected one")
    if repeated := _repeated(addresses):
        raise UserError(
            f"the environment variable {VARIABLE} has the address {repeated} twice: expected one for each process"
        )
    for address in addresses:
        split_address(address)
    if kind not in _JOBS or not 0 <= index < len(jobs.get(kind, [])):
        has = " and ".join(f"{len(jobs[job])} of the type {job}" for job in _JOBS if jobs.get(job))
        raise UserError(
            f"the environment variable {VARIABLE} says that this is {kind} {index}, but its cluster has {has}: "
            "expected a task of the cluster, counted from 0"
        )
    return Process(index + (len(jobs.get("chief", [])) if kind == "worker" else 0), addresses)


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of an address.

    Raises:
        UserError: it has another form.
    """
    found = _ADDRESS.fullmatch(address)
    if not found or not 0 < int(found[2]) <= _HIGHEST_PORT:
        raise UserError(
            f"the environment variable {VARIABLE} has the address {address!r}: expected host:port with a port from 1 "
            f"to {_HIGHEST_PORT}"
        )
    return found[1], int(found[2])


def _repeated(addresses: Sequence[str]) -> str | None:
    """The first address that is there a second time."""
    return next((address for number, address in enumerate(addresses) if address in addresses[:number]), None)


def _addresses(value: Any) -> list[str]:
    """The addresses of a job.

    Raises:
        TypeError: the value is no list of strings.
    """
    if not isinstance(value, list) or not all(isinstance(address, str) for address in value):
        raise TypeError("no list of strings")
    return value
