"""What a tokenizer computes in: speed and flipped bits of bfloat16 and int8 against float32 on one device."""

import copy
from typing import Any, get_args

import torch

from benchmarks.encoding.models import tokenizer_of
from benchmarks.encoding.pictures import synthetic_clip
from benchmarks.encoding.rounds import interleaved
from benchmarks.repeated import ratio
from bsq_model.numerics import Numerics, set_numerics


def measure_numerics(device: torch.device, *, batch: int, rounds: int) -> dict[str, Any]:
    """Seconds a batch of images at base size, and the share of bits that differ from float32's."""
    original = tokenizer_of("base", num_frames=16)
    clips = [synthetic_clip(1, 256, seed).to(device) for seed in range(batch)]
    tokenizers = {name: copy.deepcopy(original) for name in get_args(Numerics)}
    for name, tokenizer in tokenizers.items():
        set_numerics(tokenizer, name, device.type)
    bits = {name: torch.stack(tokenizer.encode(clips)) for name, tokenizer in tokenizers.items()}
    seconds = interleaved(
        {name: (lambda one=one: one.encode(clips)) for name, one in tokenizers.items()},
        rounds=rounds,
        device=device,
    )
    flipped = {name: (found != bits["float32"]).float().mean().item() for name, found in bits.items()}
    tokens = {name: (found != bits["float32"]).any(-1).float().mean().item() for name, found in bits.items()}
    return {"batch": batch, "seconds": seconds, "flipped_bits": flipped, "changed_tokens": tokens}


def numerics_table(told: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| encode, 256², base size | images/s | ratio | bits flipped | tokens changed |",
        "|---|---|---|---|---|",
    ]
    for name, seconds in told["seconds"].items():
        lines.append(
            f"| {name} | {told['batch'] / seconds['median']:.3g} | "
            f"{ratio(told['seconds']['float32'], seconds):.2f}× | {told['flipped_bits'][name]:.2%} | "
            f"{told['changed_tokens'][name]:.1%} |"
        )
    return "\n".join(lines)
