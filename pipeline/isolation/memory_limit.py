"""A bound on the memory of a process that decodes foreign bytes."""

import resource
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def memory_limit(limit_bytes: int) -> Generator[Callable[[], None]]:
    """Let this process take at most ``limit_bytes`` more private memory; allocations beyond it fail.

    Gives a function that counts anew from what the process has by then. RLIMIT_DATA leaves shared mappings
    alone, so an object store's do not count.
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
