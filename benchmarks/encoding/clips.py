"""Clips of one length and of mixed lengths: the masked full sequence against attention over prefixes."""

from typing import Any

import torch

from benchmarks.encoding.floor import MatrixProducts, encoder_operations
from benchmarks.encoding.memory import peak_bytes
from benchmarks.encoding.models import make_way, tokenizer_of
from benchmarks.encoding.pictures import synthetic_clip
from benchmarks.encoding.rounds import interleaved
from benchmarks.repeated import ratio

MIXED_LENGTHS = (2, 3, 4, 6, 12, 16)
_MEMORY_FRAMES = 16


def measure_lengths(
    size: str, lengths: list[int], device: torch.device, dtype: torch.dtype, *, rounds: int
) -> dict[str, Any]:
    """Seconds a clip of each length both ways, our share of the floor, the largest difference of latents."""
    tokenizer = tokenizer_of(size).to(device, dtype)
    ways = {"bitmill": make_way("ours", tokenizer), "textbook": make_way("textbook", tokenizer)}
    told: dict[str, Any] = {}
    for num_frames in lengths:
        clip = [synthetic_clip(num_frames, tokenizer.config.image_size_px, seed=0).to(device)]
        ours, textbook = (way(clip)[0].flatten(0, -2) for way in ways.values())
        matrix = MatrixProducts(
            tokenizer.config, device, dtype, rows=tokenizer.config.tokens_per_frame * num_frames
        )
        seconds = interleaved(
            {
                **{name: (lambda way=way, clip=clip: way(clip)) for name, way in ways.items()},
                "products": matrix,
            },
            rounds=rounds,
            device=device,
        )
        products = seconds.pop("products")
        operations = encoder_operations(tokenizer.config, num_frames)
        share = matrix.share(operations, seconds["bitmill"], products)
        difference = (ours - textbook.float().flatten(0, -2)).abs().max().item()
        told[str(num_frames)] = {**seconds, "difference": difference, "share_of_floor": share}
    return told


def measure_mixed(size: str, device: torch.device, dtype: torch.dtype, *, rounds: int) -> dict[str, Any]:
    """Six clips of 2 to 16 frames at once, against padding and mask; bits against those of each alone."""
    tokenizer = tokenizer_of(size).to(device, dtype)
    side_px = tokenizer.config.image_size_px
    clips = [synthetic_clip(length, side_px, seed=length).to(device) for length in MIXED_LENGTHS]
    ours, textbook = make_way("ours", tokenizer), make_way("textbook", tokenizer)
    seconds = interleaved(
        {"bitmill": lambda: ours(clips), "textbook": lambda: textbook(clips)}, rounds=rounds, device=device
    )
    alone = [tokenizer.encode([clip])[0] for clip in clips]
    together = tokenizer.encode(clips)
    differing = sum(int((a != b).sum()) for a, b in zip(alone, together, strict=True))
    return {**seconds, "differing_bits": differing, "bits": sum(bits.numel() for bits in together)}


def measure_memory(size: str) -> dict[str, int]:
    """Bytes above the weights at the peak of encoding 16 frames, on CPU."""
    return {way: peak_bytes(way, size, _MEMORY_FRAMES) for way in ("ours", "textbook")}


def lengths_table(told: dict[str, dict[str, Any]]) -> str:
    """Markdown: frames/s of each length, and ours against the masked sequence."""
    lines = [
        "| | frames | masked, frames/s | bitmill, frames/s | bitmill against it | of the floor |",
        "|---|---|---|---|---|---|",
    ]
    for size, lengths in told.items():
        for frames, figure in lengths.items():
            masked, ours = (int(frames) / figure[name]["median"] for name in ("textbook", "bitmill"))
            against = ratio(figure["textbook"], figure["bitmill"])
            floor = figure["share_of_floor"]
            lines.append(f"| {size} | {frames} | {masked:.3g} | {ours:.3g} | {against:.2f}× | {floor:.2f} |")
    return "\n".join(lines)


def mixed_sentence(told: dict[str, Any]) -> str:
    """One line."""
    against = ratio(told["textbook"], told["bitmill"])
    return (
        f"Clips of {', '.join(map(str, MIXED_LENGTHS))} frames at once: {against:.2f}× padding and mask; "
        f"{told['differing_bits']} of {told['bits']:,} bits differ from those of each clip alone."
    )


def memory_sentence(size: str, told: dict[str, int]) -> str:
    """One line."""
    ours, textbook = (told[way] / 2**20 for way in ("ours", "textbook"))
    return (
        f"{size}, {_MEMORY_FRAMES} frames, peak memory above the weights: masked {textbook:.0f} MiB, "
        f"bitmill {ours:.0f} MiB ({ours / textbook:.2f} of it)."
    )
