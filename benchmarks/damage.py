"""What FFmpeg does not report: one bit flipped in one packet of a video, in each codec.

    python -m benchmarks.damage [--bits N] [--codecs NAME ...]

Each video has 30 frames and three keyframes, made from a real clip. Of three packets (the first keyframe, the
one after it, one in the middle of the second group) N bits each are flipped, one at a time, spread over the
packet. What bitmill keeps is compared with what it keeps of the whole video. A flip is

- told: the item ends with a reason;
- harmless: it ends without one, and every frame is as it was;
- unreported: it ends without one, and a frame is wrong or gone.

"wrong, told" counts told flips that still kept a wrong frame from before FFmpeg noticed.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from bitmill.pipeline.decode.decode_media import decode_item
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.items import DecodedClip
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.frames import NEWEST_PIXEL_RULE
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from tests.support.damage import GOP, flipped, keyed_video, packet_places, spread_bits

VIDEOS = (
    *("h264.mp4", "h264-open-gop.mp4", "h264-refresh.mp4", "hevc.mp4", "hevc-hashes.mp4", "vp8.webm"),
    *("vp9.webm", "av1.mp4", "mpeg2.mkv", "mpeg4.avi", "mpeg4-b.mp4", "msmpeg4.avi", "wmv2.avi", "flv1.flv"),
    "ffv1.mkv",
)
PACKETS = (0, 1, GOP + GOP // 2)

Frames = dict[int, bytes]
"""Pixels by presentation time, ns."""


def kept(path: Path) -> tuple[Frames, Reason | None]:
    """Every frame that bitmill keeps of a file, and why it is not all, if it says so."""
    sampling = SamplingSpec(fps=None, clip_frames=1, min_frames=1)
    frames: Frames = {}
    for event in decode_item(
        str(path),
        span_ns=(None, None),
        sampling=sampling,
        sizes=squares(120),
        limits=LimitsSpec(),
        pixel_rule=NEWEST_PIXEL_RULE,
    ):
        if not isinstance(event, DecodedClip):
            return frames, event.reason
        frames[int(event.frame_pts_ns[0])] = event.frames_THWC.tobytes()
    raise AssertionError("decoding ends with an ItemEnd")


def judge(whole: Frames, path: Path) -> list[str]:
    """What became of a damaged file."""
    frames, reason = kept(path)
    if reason is None:
        return ["harmless" if frames == whole else "unreported"]
    wrong = any(whole.get(time_ns) != pixels for time_ns, pixels in frames.items())
    return ["told", "wrong, told"] if wrong else ["told"]


def sweep(source: Path, num_bits: int) -> Counter[str]:
    """Counts of ``judge``."""
    whole, places = kept(source)[0], packet_places(source)
    counts = Counter[str]()
    for packet in PACKETS:
        for bit in spread_bits(places[packet][1], num_bits):
            counts.update(judge(whole, flipped(source, source.with_name("damaged"), packet, bit)))
    return counts


def main() -> None:
    """Print a table row for each video."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bits", type=int, default=48)
    parser.add_argument("--codecs", nargs="+", choices=VIDEOS, default=VIDEOS)
    options = parser.parse_args()
    columns = ("told", "wrong, told", "harmless", "unreported")
    print("| video | " + " | ".join(columns) + " |\n" + "|---" * 5 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.codecs:
            counts = sweep(keyed_video(Path(folder) / name), options.bits)
            cells = " | ".join(str(counts[column]) for column in columns)
            print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
