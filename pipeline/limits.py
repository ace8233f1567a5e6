"""How much memory this process may use, whether what it is going to do fits, and how many cores it may use."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import UserError

# What TensorFlow reserves with a few threads; 2.5 GB are too few. Each further thread reserves some more.
ADDRESS_BYTES = 4 * 10**9

_CPU_QUOTA = "/sys/fs/cgroup/cpu.max"  # Linux: microseconds of processor time that containers get, and of how many
_ALLOWED_BY = {"ulimit -v": "ulimit -v", "cgroup": "the container or cgroup", "machine": "this machine"}


def available_bytes() -> tuple[int, str]:
    """The memory that this process may use in all, in bytes, and what sets it: "ulimit -v", "cgroup", or "machine".

    Where ulimit -v limits the addresses that the process may use, those that it has reserved without using them, as
    libraries do, are subtracted.
    """
    import psutil  # takes time, and is only needed here

    process = psutil.Process().memory_info()
    limits = [(psutil.virtual_memory().total, "machine")]
    limits += [(limit, "cgroup") for limit in _cgroup_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))]
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if addresses != resource.RLIM_INFINITY:
        limits.append((max(0, addresses - (process.vms - process.rss)), "ulimit -v"))
    return min(limits, key=lambda limit: limit[0])


def check_memory(needed: int, purpose: str, advice: str) -> None:
    """Checks that the memory that this process may use is enough.

    Args:
        needed: the bytes that the process will use in all.
        purpose: what needs them; the subject of the message.
        advice: what the user can do if it is not enough.

    Raises:
        UserError: it is not enough; the message says what is needed, what is available, and what sets the limit.
    """
    available, limit = available_bytes()
    if needed > available:
        raise UserError(
            f"{purpose} needs about {_gigabytes(needed)} of memory, but {_ALLOWED_BY[limit]} allows "
            f"{_gigabytes(available)}: {advice}"
        )


def check_addresses(program: str, needed: int = ADDRESS_BYTES) -> None:
    """Checks that ulimit -v leaves the addresses that TensorFlow reserves. It must be called before the import.

    TensorFlow reserves far more addresses than it uses memory, and aborts the process if it gets too few.

    Args:
        program: what imports TensorFlow; the subject of the message.
        needed: the bytes of addresses that it reserves.

    Raises:
        UserError: the limit is too low; the message says what it should be.
    """
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if addresses != resource.RLIM_INFINITY and addresses < needed:
        raise UserError(
            f"{program} needs {_gigabytes(needed)} of addresses for memory, but ulimit -v allows "
            f"{_gigabytes(addresses)}: expected ulimit -v {needed // 1000} or more"
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _cgroup_limits(membership: Path, mount: Path) -> Iterator[int]:
    """The limits of the cgroup that this process is in, and of those that this one is in, in bytes.

    Args:
        membership: the file /proc/self/cgroup, a line `number:controllers:path` for each hierarchy. Version 2 has one
            hierarchy, and leaves the controllers out.
        mount: where the hierarchies are mounted.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return  # this system has no cgroups
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            tops, name = [mount, mount / "unified"], "memory.max"
        elif "memory" in controllers.split(","):
            tops, name = [mount / "memory"], "memory.limit_in_bytes"
        else:
            continue
        for top in tops:
            # A container may not see the folder of its own cgroup, but it sees its limit at the top.
            group = Path(os.path.normpath(f"{top}/{path}"))
            for folder in (group, *group.parents):
                if folder.is_relative_to(top) and (limit := _read_number(folder / name)) is not None:
                    yield limit


def _read_number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None  # "max" if there is no limit


def num_cores() -> int:
    """How many cores this process may use. A container may have fewer than the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open(_CPU_QUOTA) as file:
            quota, period = file.read().split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):  # there is no quota
        return cores
