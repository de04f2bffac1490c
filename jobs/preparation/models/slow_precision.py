"""Tells users whose CPU has no instructions for the precision that they chose."""

from typing import Literal

import torch


def slow_precision(precision: Literal["float32", "bfloat16"], device: torch.device) -> str | None:
    """Returns a note if training in ``precision`` on the device is much slower than in float32, else None.

    torch computes bfloat16 products on x86 by AVX-512, with or without instructions of its own for them;
    with AVX2 alone they take tens of times as long as those of float32.
    """
    if precision == "float32" or device.type != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX2":
        return None
    return (
        "note: this CPU has no instructions for bfloat16, and a step takes many times as long as in float32: "
        "set compute.precision to float32, or train on another machine."
    )
