"""CPUs that may be used, by the files in which kernels tell a quota, in containers and outside."""

import os

import pytest

from bitmill.pipeline import cpu_count
from bitmill.pipeline.cpu_count import available_cpus


def _v1(quota: int, period: int = 100_000) -> dict[str, str]:
    return {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": f"{period}\n"}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of 64 CPUs, with these groups' files and this of its process."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    monkeypatch.setattr(cpu_count, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(cpu_count, "_OWN_GROUPS", tmp_path / "own")

    def lay_out(own: str | None, **groups: dict[str, str]) -> None:
        if own is not None:
            (tmp_path / "own").write_text(own)
        for name, files in groups.items():
            folder = tmp_path / "groups" / name
            folder.mkdir(parents=True, exist_ok=True)
            for file, text in files.items():
                (folder / file).write_text(text)

    return lay_out


@pytest.mark.parametrize(
    ("own", "groups", "expected"),
    [
        ("0::/\n", {"": {"cpu.max": "200000 100000\n"}}, 2),
        ("0::/\n", {"": {"cpu.max": "max 100000\n"}}, 64),
        ("0::/\n", {"": {"cpu.max": "50000 100000\n"}}, 1),
        ("0::/\n", {"": {"cpu.max": "350000 100000\n"}}, 3),
        ("0::/a/b\n", {"a/b": {"cpu.max": "max 100000\n"}, "a": {"cpu.max": "400000 100000\n"}}, 4),
        ("0::/a\n", {"a": {"cpu.max": "99900000 100000\n"}}, 64),
        ("4:cpu,cpuacct:/docker/1\n0::/\n", {"cpu": _v1(200_000)}, 2),
        ("4:cpu,cpuacct:/docker/1\n", {"cpu,cpuacct/docker/1": _v1(300_000), "cpu,cpuacct": _v1(-1)}, 3),
        ("4:cpuset,cpu:/x\n3:memory:/\n", {"cpu/x": _v1(25_000, 50_000), "memory": _v1(1)}, 1),
        ("4:cpu:/\n", {"cpu": _v1(-1)}, 64),
        ("4:cpu:/\n", {"cpu": {"cpu.cfs_quota_us": "odd", "cpu.cfs_period_us": "0"}}, 64),
        (None, {"": {"cpu.max": "200000 100000\n"}}, 2),
        (None, {}, 64),
    ],
)
def test_a_quota_bounds_the_cpus(machine, own, groups, expected):
    machine(own, **groups)
    assert available_cpus() == expected


def test_affinity_bounds_them_too(machine, monkeypatch):
    machine("0::/\n", **{"": {"cpu.max": "800000 100000\n"}})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 7})
    assert available_cpus() == 2
