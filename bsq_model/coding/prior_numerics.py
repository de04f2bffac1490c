"""Describes the platform that a prior's float rounding depends on, and fixes its thread count."""

import platform
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import torch


def numerics(device: torch.device | str = "cpu") -> str:
    """Return torch version, processor or GPU, and instruction set; equal lines usually mean equal bits."""
    if torch.device(device).type == "cuda":
        return f"torch {torch.__version__}, {torch.cuda.get_device_name(device)}, float32"
    kind = _processor()
    return f"torch {torch.__version__}, {kind} {torch.backends.cpu.get_cpu_capability()}, 1 thread, float32"


@contextmanager
def one_thread() -> Generator[None]:
    """Run torch on one CPU thread, in encoder and decoder: the order of sums depends on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _processor() -> str:
    """Return vendor, family and model if known; numeric libraries choose their kernels by these."""
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    except OSError:
        return platform.machine()
    parts = [found[name] for name in ("vendor_id", "cpu family", "model") if name in found]
    return "-".join(parts) or platform.machine()
