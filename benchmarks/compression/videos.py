"""x264, x265 and SVT-AV1 by PyAV: bare streams, 8-bit 4:2:0, constant rate factor, two presets each."""

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

from benchmarks.compression.contender import Coded
from benchmarks.compression.media import Item
from benchmarks.scheduling import scheduling_kept


@dataclass(frozen=True, kw_only=True)
class Video:
    """An encoder at one preset."""

    name: str
    codec: str
    container: str
    settings: tuple[int, ...]
    options: dict[str, str]

    def code(self, item: Item, setting: int) -> Coded:
        """See Contender."""
        with scheduling_kept():
            data = self._encode(item, setting)
        with av.open(io.BytesIO(data), format=self.container) as container:
            decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        if len(decoded) != len(item.frames_THWC):
            raise ValueError(f"{self.name} gave {len(decoded)} of {len(item.frames_THWC)} frames")
        return Coded(num_bytes=len(data), frames_THWC=np.stack(decoded))

    def _encode(self, item: Item, setting: int) -> bytes:
        height, width = item.frames_THWC.shape[1:3]
        file = io.BytesIO()
        with av.open(file, "w", format=self.container) as container:
            rate = Fraction(item.fps or 25).limit_denominator(1001)
            options = {"crf": str(setting), **self.options}
            stream = cast(VideoStream, container.add_stream(self.codec, rate=rate, options=options))
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            for frame in item.frames_THWC:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
            container.mux(stream.encode(None))
        return file.getvalue()


_X264 = (20, 26, 31, 36, 41, 46, 51)
_X265 = (20, 26, 31, 36, 41, 46, 51)
_AV1 = (24, 33, 42, 50, 57, 61, 63)
_X265_QUIET = {"x265-params": "log-level=none:pools=none:frame-threads=1"}
_AV1_QUIET = {"svtav1-params": "lp=1"}

VIDEOS = (
    *(
        Video(
            name=f"x264 {preset}",
            codec="libx264",
            container="h264",
            settings=_X264,
            options={"preset": preset, "threads": "1"},
        )
        for preset in ("medium", "slow")
    ),
    *(
        Video(
            name=f"x265 {preset}",
            codec="libx265",
            container="hevc",
            settings=_X265,
            options={"preset": preset, **_X265_QUIET},
        )
        for preset in ("medium", "slow")
    ),
    # SVT-AV1 numbers its presets from 13 (fast) down to 0: these two stand for medium and slow here.
    *(
        Video(
            name=f"SVT-AV1 {preset}",
            codec="libsvtav1",
            container="ivf",
            settings=_AV1,
            options={"preset": number, **_AV1_QUIET},
        )
        for preset, number in (("medium", "8"), ("slow", "4"))
    ),
)
