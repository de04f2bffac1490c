"""How many CPUs this process may use: what it is bound to, and what a container's quota leaves of them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def available_cpus() -> int:
    """CPUs of the affinity mask, at most as many whole ones as cgroups (v1 or v2) grant; at least 1."""
    bound = len(os.sched_getaffinity(0))
    return max(1, int(min([bound, *_quotas()])))


def _quotas() -> Iterator[float]:
    """Quotas in CPUs of the groups that this process is in, each of which bounds it."""
    for folder in _folders():
        for name in ("cpu.max", "cpu.cfs_quota_us"):
            with suppress(OSError, ValueError, ZeroDivisionError):
                # `max 100000` in v2 and -1 in v1 are no quota.
                words = (folder / name).read_text().split()
                if name != "cpu.max":
                    words.append((folder / "cpu.cfs_period_us").read_text())
                quota = int(words[0]) / int(words[1])
                if quota > 0:
                    yield quota


def _folders() -> Iterator[Path]:
    """Folders of its groups and of all above; in a container what is mounted may begin at any of these."""
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in ["0::/", ":cpu:/", *lines]:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # v2 names no controllers; v1's that are mounted together have one name, and links of each one's own.
        roots = (_CGROUPS / controllers, _CGROUPS / "cpu") if controllers else (_CGROUPS,)
        within = PurePosixPath(path.lstrip("/"))
        for root in roots:
            yield from (root / part for part in (within, *within.parents))
