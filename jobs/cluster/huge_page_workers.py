"""Worker processes whose memory lies on huge pages: their C library asks the kernel for them.

What ``malloc`` gives, decoded frames and a model's results among it, lies on pages of 4 KiB unless glibc is
told otherwise when a process starts (docs/performance.md has what it is worth). Where the C library is
another one, or the kernel has no huge pages to give, this changes nothing.
"""

import os

_VARIABLE = "GLIBC_TUNABLES"
_HUGE_PAGES = "glibc.malloc.hugetlb=1"
"""By ``madvise(2)``, as the kernel's default setting wants to be asked."""


def worker_variables() -> dict[str, str]:
    """Environment of Ray's workers; empty where tunables are set already: a user's stay as they are."""
    return {} if _VARIABLE in os.environ else {_VARIABLE: _HUGE_PAGES}
