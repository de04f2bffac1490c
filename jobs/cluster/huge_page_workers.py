"""Environment that makes Ray's workers allocate memory on huge pages, through glibc.

``malloc`` uses pages of 4 KiB, for decoded frames and model outputs too, unless glibc is configured otherwise
at process start (docs/performance.md has the measured gain). With another C library, or a kernel without free
huge pages, this changes nothing.
"""

import os

_VARIABLE = "GLIBC_TUNABLES"
_HUGE_PAGES = "glibc.malloc.hugetlb=1"
"""Value 1 requests them by ``madvise(2)``, which the kernel's default setting requires."""


def worker_variables() -> dict[str, str]:
    """Returns environment variables for Ray's workers; empty if the user has set glibc tunables."""
    return {} if _VARIABLE in os.environ else {_VARIABLE: _HUGE_PAGES}
