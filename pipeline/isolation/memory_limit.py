"""Limits the memory of a process that decodes untrusted bytes."""

import resource
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def memory_limit(limit_bytes: int) -> Generator[Callable[[], None]]:
    """Let this process allocate at most ``limit_bytes`` more private memory; allocations beyond it fail.

    Yields a function that resets the limit to ``limit_bytes`` above the current usage. RLIMIT_DATA excludes
    shared mappings, so those of an object store do not count.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)

    def count_anew() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (_private_bytes() + limit_bytes, before[1]))

    count_anew()
    try:
        yield count_anew
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _private_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
