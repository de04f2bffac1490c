"""A BSQ-ViT at sizes and shapes that it was not trained at: interpolated positions, or cropping, or scaling.

Each photograph is decoded, scaled and cropped as by ``tokenize``, then coded in three ways:

- the whole frame, with interpolated positions;
- its middle square of the trained size, cropped before it is coded, to compare with the same pixels of the
  first way: equal content, scale and bits, so that they differ by the positions alone;
- scaled to the trained square and back, which takes fewer or more bits, and stretches oblong frames.

Prints a Markdown table.

    python -m examples.small_tokenizer.fetch_data small-data
    bitmill weights fetch lpips-alexnet
    python -m benchmarks.other_sizes small-data/photos/held-out
"""

import argparse
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import describe, sentence
from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.layers.patches import pixels_from_uint8
from bitmill.bsq_model.resolution import interpolating
from bitmill.jobs.preparation.models.find_frame_sizes import size_of_text
from bitmill.jobs.preparation.models.find_tokenizers import load_tokenizer_spec, tokenizer_spec
from bitmill.jobs.preparation.models.metric_networks import find_metric_networks
from bitmill.pipeline.decode.pixels.frame_sizes import Buckets
from bitmill.pipeline.decode.pixels.resize import resample
from bitmill.pipeline.evaluation.running_scores import Contender, FeatureSums, MetricNetworks
from bitmill.pipeline.isolation.decode_process import isolated_sources
from bitmill.pipeline.isolation.source_events import DecodeSettings
from bitmill.pipeline.items import DecodedClip
from bitmill.pipeline.sources.listing import find_sources
from bitmill.schemas.models.geometry import SizePx
from bitmill.schemas.reports.evaluation_report import QualityRow
from bitmill.schemas.requests.frames import NEWEST_PIXEL_RULE
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec, SourceSpec

SIZES: tuple[SizePx, ...] = (
    (64, 64),
    (96, 96),
    (128, 128),
    (192, 192),
    (256, 256),
    (96, 128),
    (128, 176),
    (128, 224),
    (224, 128),
)


def main() -> None:
    """Measure all sizes and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", help="a folder of pictures that the tokenizer was not trained on")
    parser.add_argument("--tokenizer", default="small-1")
    parser.add_argument(
        "--sizes", nargs="+", type=size_of_text, default=SIZES, help="height and width: 128x224"
    )
    options = parser.parse_args()
    tokenizer = interpolating(load_tokenizer_spec(tokenizer_spec(options.tokenizer)).bsq_vit())
    networks = MetricNetworks(lpips=find_metric_networks(None)[0].lpips)
    print("| frames | whole | middle | middle, cropped first | scaled there and back | its bit/pixel |")
    print("|---|---|---|---|---|---|")
    for size in options.sizes:
        rows = measure(tokenizer, networks, options.photographs, size)
        cells = [f"{size[0]}×{size[1]}", *map(cell, rows), f"{rows[-1].bits_per_pixel:.3f}"]
        print(f"| {' | '.join(cells)} |", flush=True)
    print("\nEach cell: PSNR in dB, SSIM, LPIPS")
    print(sentence(describe(["torch", "pillow"])))


def frames(folder: str, size: SizePx) -> Iterator[np.ndarray]:
    """Every picture as ``tokenize`` gives it to a tokenizer: uint8 [1, H, W, 3]."""
    settings = DecodeSettings(
        sampling=SamplingSpec(clip_frames=1),
        limits=LimitsSpec(),
        sizes=Buckets((size,)),
        pixel_rule=NEWEST_PIXEL_RULE,
    )
    for _, event in isolated_sources(find_sources(SourceSpec(paths=[folder])).sources, settings):
        if isinstance(event, DecodedClip):
            yield event.frames_THWC


def measure(tokenizer: BSQTokenizer, networks: MetricNetworks, folder: str, size: SizePx) -> list[QualityRow]:
    """The scores of the whole frame, its middle (if any) coded with it and alone, and the scaled frame."""
    whole, inside, cropped, scaled = (
        Contender(name, networks) for name in ("whole", "inside", "crop", "scaled")
    )
    side = tokenizer.config.image_size_px
    top, left = (size[0] - side) // 2, (size[1] - side) // 2

    def middle(clip_THWC: Tensor) -> Tensor:
        return clip_THWC[:, top : top + side, left : left + side]

    for clip in frames(folder, size):
        frame_THWC = torch.from_numpy(clip.copy())
        original = pixels_from_uint8(frame_THWC, torch.float32)
        shown, bits = coded(tokenizer, frame_THWC)
        whole.add(original, shown, bits)
        if min(size) >= side:
            alone, bits = coded(tokenizer, middle(frame_THWC))
            inside.add(middle(original), middle(shown), bits)
            cropped.add(middle(original), alone, bits)
        small = stretched(clip[0], (side, side))
        shown, bits = coded(tokenizer, torch.from_numpy(small)[None])
        grey = ((shown[0] + 1) * 127.5).round().to(torch.uint8).numpy()
        back = torch.from_numpy(stretched(grey, size))[None]
        scaled.add(original, pixels_from_uint8(back, torch.float32), bits)
    nothing = QualityRow(name="nothing", bits_per_pixel=0, psnr_db=0)
    contenders = (whole, inside, cropped, scaled)
    return [one.row(FeatureSums(networks)) if one.has_clips else nothing for one in contenders]


def coded(tokenizer: BSQTokenizer, frame_THWC: Tensor) -> tuple[Tensor, int]:
    """The reconstruction, float in [−1, 1], and its number of bits."""
    bits = tokenizer.encode([frame_THWC])
    return tokenizer.decode_pixels(bits)[0], bits[0].numel()


def stretched(picture_HWC: np.ndarray, size: SizePx) -> np.ndarray:
    """The whole picture resampled to a size, whatever its shape."""
    height, width = picture_HWC.shape[:2]
    return resample(picture_HWC, (0.0, 0.0, float(width), float(height)), size[1], size[0])


def cell(row: QualityRow) -> str:
    """A cell of the table."""
    if not row.bits_per_pixel:
        return "–"
    lpips = "–" if row.lpips is None else f"{row.lpips:.3f}"
    return f"{row.psnr_db:.2f}, {row.ssim or 0:.3f}, {lpips}"


if __name__ == "__main__":
    main()
