"""Training frees and takes the same large blocks at each step; the process keeps them.

glibc's malloc returns large freed blocks to the kernel, which clears their pages anew when they are taken
again.
"""

import ctypes

# Parameters of mallopt(3), and the most that glibc accepts as the first one (DEFAULT_MMAP_THRESHOLD_MAX).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_HEAP_BLOCK_BYTES = 32 << 20
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed blocks of up to 32 MiB for this process's next tensors on the CPU; nothing without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_HEAP_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
