"""What a tokenizer computes in: speed and flipped bits of bfloat16 and int8 against float32 on one device."""

import copy
from typing import Any, get_args

import torch

from benchmarks.encoding.floor import MatrixProducts, encoder_operations
from benchmarks.encoding.models import tokenizer_of
from benchmarks.encoding.pictures import synthetic_clip
from benchmarks.encoding.rounds import interleaved
from benchmarks.repeated import ratio
from bitmill.bsq_model.numerics import Numerics, set_numerics


def measure_numerics(device: torch.device, *, batch: int, rounds: int) -> dict[str, Any]:
    """Seconds a batch of images at base size, and the share of bits that differ from float32's."""
    original = tokenizer_of("base", num_frames=16)
    clips = [synthetic_clip(1, 256, seed).to(device) for seed in range(batch)]
    tokenizers = {name: copy.deepcopy(original) for name in get_args(Numerics)}
    for name, tokenizer in tokenizers.items():
        set_numerics(tokenizer, name, device.type)
    bits = {name: torch.stack(tokenizer.encode(clips)) for name, tokenizer in tokenizers.items()}
    floors = {
        name: MatrixProducts(original.config, device, getattr(torch, name), rows=1024 * batch)
        for name in bits
    }
    seconds = interleaved(
        {
            **{name: (lambda one=one: one.encode(clips)) for name, one in tokenizers.items()},
            **{f"{name} products": floor for name, floor in floors.items()},
        },
        rounds=rounds,
        device=device,
    )
    products = {name: seconds.pop(f"{name} products") for name in bits}
    operations = batch * encoder_operations(original.config, 1)
    flipped = {name: (found != bits["float32"]).float().mean().item() for name, found in bits.items()}
    tokens = {name: (found != bits["float32"]).any(-1).float().mean().item() for name, found in bits.items()}
    return {
        "batch": batch,
        "seconds": seconds,
        "matrix_rate": {name: floor.rate(products[name]) for name, floor in floors.items()},
        "share_of_floor": {
            name: floor.share(operations, seconds[name], products[name]) for name, floor in floors.items()
        },
        "flipped_bits": flipped,
        "changed_tokens": tokens,
    }


def numerics_table(told: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| 256², base size | images/s | ratio | products, Gop/s | of the floor | flipped bits | tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, seconds in told["seconds"].items():
        lines.append(
            f"| {name} | {told['batch'] / seconds['median']:.3g} | "
            f"{ratio(told['seconds']['float32'], seconds):.2f}× | {told['matrix_rate'][name] / 1e9:,.0f} | "
            f"{told['share_of_floor'][name]:.2f} | {told['flipped_bits'][name]:.2%} | "
            f"{told['changed_tokens'][name]:.1%} |"
        )
    return "\n".join(lines)
