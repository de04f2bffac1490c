"""FFmpeg as it would be on another CPU: which vector units PyAV's library may use."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import av


@cache
def _library() -> ctypes.CDLL:
    """The libavutil that PyAV has loaded; decord may have loaded one of its own."""
    folder = str(Path(av.__file__).parents[1] / "av.libs")
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[-1]
        if path.startswith(folder) and "libavutil" in path:
            return ctypes.CDLL(path)
    raise RuntimeError(f"PyAV {av.__version__} has loaded no libavutil of its own.")


@contextmanager
def cpu_flags(flags: int) -> Iterator[None]:
    """Within it FFmpeg takes the CPU for one with these flags; 0 is one without vectors, -1 is this one."""
    _library().av_force_cpu_flags(flags)
    try:
        yield
    finally:
        _library().av_force_cpu_flags(-1)


def seen_flags() -> int:
    """What FFmpeg takes the CPU for."""
    return int(_library().av_get_cpu_flags())
