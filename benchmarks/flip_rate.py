"""How many bits change between the model's forms, thread counts and dtypes; prints a Markdown table.

    python -m benchmarks.flip_rate --preset tiny --clips 8 --frames 16

Another machine, or another instruction set on this one, is compared by way of a file:

    python -m benchmarks.flip_rate --write v.pt
    ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 python -m benchmarks.flip_rate --compare v.pt

Weights are untrained, pictures synthetic (smooth colour with noise): an untrained encoder's latents lie as
close to zero as any.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.encoding.pictures import synthetic_clip
from bitmill.bsq_model import BSQTokenizer, make_preset
from bitmill.bsq_model.layers.patches import patches_from_pixels, pixels_from_uint8


def row(name: str, reference: list[Tensor], other: list[Tensor]) -> str:
    """Bits compared, bits that differ, their share, the largest |v| of those, the largest difference of v."""
    a, b = torch.cat([v.flatten() for v in reference]), torch.cat([v.flatten() for v in other])
    flipped = (a > 0) != (b > 0)
    margin = f"{a[flipped].abs().max():.1e}" if bool(flipped.any()) else "–"
    share = f"{flipped.float().mean():.1e}" if bool(flipped.any()) else "0"
    difference = f"{(a - b).abs().max():.1e}"
    return f"| {name} | {a.numel():,} | {int(flipped.sum()):,} | {share} | {margin} | {difference} |"


@torch.inference_mode()
def latents(tokenizer: BSQTokenizer, clips: list[Tensor], form: str) -> list[Tensor]:
    """Latents [T, N, L] of each clip by one of the encoder's forms."""
    patch, dtype = tokenizer.config.patch_size_px, tokenizer.encoder.spatial_positions.dtype
    patches = [patches_from_pixels(pixels_from_uint8(clip, dtype), patch) for clip in clips]
    if form == "masked":
        return [tokenizer.encoder(x[None])[0] for x in patches]
    if form == "end to end":
        return tokenizer.encoder.end_to_end(patches)
    return [tokenizer.encoder.frame_by_frame(x) for x in patches]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--write", type=Path, help="write the latents to this file")
    parser.add_argument("--compare", type=Path, help="compare the latents with those of this file")
    arguments = parser.parse_args()
    tokenizer = make_preset(arguments.preset)
    side_px = tokenizer.config.image_size_px
    clips = [synthetic_clip(arguments.frames, side_px, seed) for seed in range(arguments.clips)]

    print(f"torch {torch.__version__}, {arguments.preset}, {len(clips)} clips of {arguments.frames} frames\n")
    print(
        "| frame by frame, float32, 1 thread, against | bits | differ | share | largest abs(v) of those "
        "| largest difference of v |"
    )
    print("|---|---|---|---|---|---|")
    torch.set_num_threads(1)
    reference = latents(tokenizer, clips, "frame by frame")
    print(row("the same again", reference, latents(tokenizer, clips, "frame by frame")), flush=True)
    if arguments.write:
        torch.save(reference, arguments.write)
    if arguments.compare:
        print(row("the file's", reference, torch.load(arguments.compare)), flush=True)
    torch.set_num_threads(2)
    print(row("2 threads", reference, latents(tokenizer, clips, "frame by frame")), flush=True)
    for form in ("end to end", "masked"):
        print(row(f"{form}, 2 threads", reference, latents(tokenizer, clips, form)), flush=True)
    tokenizer.to(torch.bfloat16)
    print(
        row("bfloat16 weights, 2 threads", reference, latents(tokenizer, clips, "frame by frame")), flush=True
    )


if __name__ == "__main__":
    main()
