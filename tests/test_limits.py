"""How much memory a process may use, by whom it is limited, and how too little is told."""

import importlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parent.parent
GIGABYTE = 10**9
V1 = "memory/{}memory.limit_in_bytes"


@pytest.fixture(params=["pipeline", "trainer"])
def package(request):
    return request.param


@pytest.fixture
def limits(package):
    return importlib.import_module(f"{package}.limits")


def test_without_other_limits_it_is_the_machine(limits, monkeypatch):
    monkeypatch.setattr(limits, "_cgroup_limits", lambda *_: iter(()))
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    assert limits.available_bytes() == (psutil.virtual_memory().total, "machine")


def test_the_smallest_limit_counts(limits, monkeypatch):
    monkeypatch.setattr(limits, "_cgroup_limits", lambda *_: iter([3 * GIGABYTE, GIGABYTE, 2**63 - 4096]))

    assert limits.available_bytes() == (GIGABYTE, "cgroup")


def test_ulimit_is_seen_without_what_is_reserved(package):
    script = (
        f"import mmap, resource\nfrom {package}.limits import available_bytes, check_memory\n"
        "before, limit = available_bytes()\n"
        "reserved = mmap.mmap(-1, 10**9, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "print(limit, before, before - available_bytes()[0])\n"
        "check_memory(4 * 10**9, 'training 1,000 x 300', 'give a smaller --embedding_dim')"
    )
    done = subprocess.run(
        ["bash", "-c", 'ulimit -v 3000000; exec "$0" -c "$1"', sys.executable, script],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip

    *limit, before, less = done.stdout.split()
    assert limit == ["ulimit", "-v"]
    assert 2 * GIGABYTE < int(before) < 3_072_000_000
    assert int(less) == pytest.approx(GIGABYTE, rel=0.01)
    assert done.stderr.splitlines()[-1].endswith(
        "UserError: training 1,000 x 300 needs about 4.0 GB of memory, but ulimit -v allows "
        f"{(int(before) - int(less)) / 1e9:.1f} GB: give a smaller --embedding_dim"
    )


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a/b", {"memory.max": "max", "a/memory.max": "5", "a/b/memory.max": "7"}, [7, 5]),
        ("0::/a/b", {"memory.max": "4"}, [4]),  # a container that does not see its own folder
        ("0::/../x", {"memory.max": "4"}, []),  # outside of what is mounted
        ("0::/", {"unified/memory.max": "6"}, [6]),
        ("3:cpu,memory:/a\n1:cpu:/b", {V1.format("a/"): "9", V1.format(""): "8"}, [9, 8]),
        ("1:name=systemd:/a:b", {"memory.max": "4"}, []),
        ("0::/a", {"a/memory.max": "what"}, []),
        (None, {}, []),
    ],
)  # fmt: skip
def test_cgroups_limit_from_the_inside_outwards(limits, tmp_path, membership, files, expected):
    mount, file = tmp_path / "cgroup", tmp_path / "self"
    for name, content in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(content + "\n")
    if membership is not None:
        file.write_text(membership + "\n")

    assert list(limits._cgroup_limits(file, mount)) == expected


@pytest.mark.parametrize(
    ("limit", "words"),
    [("ulimit -v", "ulimit -v"), ("cgroup", "the container or cgroup"), ("machine", "this machine")],
)
def test_too_little_is_told_in_one_line(limits, package, monkeypatch, limit, words):
    monkeypatch.setattr(limits, "available_bytes", lambda: (8 * GIGABYTE, limit))
    limits.check_memory(8 * GIGABYTE, "a", "b")

    with pytest.raises(importlib.import_module(f"{package}.errors").UserError) as raised:
        limits.check_memory(12_345_678_901, "training", "give a smaller --embedding_dim")
    assert str(raised.value) == (
        f"training needs about 12.3 GB of memory, but {words} allows 8.0 GB: give a smaller --embedding_dim"
    )


def test_too_few_addresses_for_tensorflow_are_told_before_it_is_imported(limits, package, monkeypatch):
    infinity = resource.RLIM_INFINITY
    for enough in (infinity, limits.ADDRESS_BYTES):
        monkeypatch.setattr(limits.resource, "getrlimit", lambda _, enough=enough: (enough, infinity))
        limits.check_addresses("the trainer")

    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (GIGABYTE, infinity))
    with pytest.raises(importlib.import_module(f"{package}.errors").UserError) as raised:
        limits.check_addresses("the trainer")
    assert str(raised.value) == (
        "the trainer needs 4.0 GB of addresses for memory, but ulimit -v allows 1.0 GB: "
        "expected ulimit -v 4000000 or more"
    )


@pytest.mark.parametrize(
    ("quota", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 4), ("", 4), (None, 4)]
)
def test_a_container_with_a_quota_has_fewer_cores(limits, monkeypatch, tmp_path, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(limits, "_CPU_QUOTA", str(tmp_path / "cpu.max"))
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert limits.num_cores() == expected
