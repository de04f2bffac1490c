"""Counts the CPUs this process may use, by its affinity mask and its container's quota."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def available_cpus() -> int:
    """Returns the CPUs of the affinity mask, limited by whole CPUs of cgroup quotas (v1, v2); at least 1."""
    return max(1, int(min([len(os.sched_getaffinity(0)), *_quotas()])))


def _quotas() -> Iterator[float]:
    """Yields the CPU quotas of all cgroups of this process; each is a limit."""
    for folder in _folders():
        for name in ("cpu.max", "cpu.cfs_quota_us"):
            with suppress(OSError, ValueError, ZeroDivisionError):
                # `max 100000` in v2 and -1 in v1 mean no quota.
                words = (folder / name).read_text().split()
                if name != "cpu.max":
                    words.append((folder / "cpu.cfs_period_us").read_text())
                quota = int(words[0]) / int(words[1])
                if quota > 0:
                    yield quota


def _folders() -> Iterator[Path]:
    """Yields folders of its cgroups and their parents; a container's mount may begin at any of them."""
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in ["0::/", ":cpu:/", *lines]:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # v2 lists no controllers; v1 controllers mounted together share a folder, with a symlink for each.
        roots = (_CGROUPS / controllers, _CGROUPS / "cpu") if controllers else (_CGROUPS,)
        within = PurePosixPath(path.lstrip("/"))
        for root in roots:
            yield from (root / part for part in (within, *within.parents))
