"""An odd file whose times or sizes no table can store ends as such, rather than failing the whole job."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bitmill.pipeline.decode.decode_media import decode_item
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.decode.video.timestamps import FrameClock
from bitmill.pipeline.items import DecodedClip, ItemEnd
from bitmill.pipeline.planning.probe_sources import look_at
from bitmill.pipeline.planning.split_videos import spans_of
from bitmill.schemas.outcomes import Outcome, Reason
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from tests.pipeline.decode.conftest import decode
from tests.support.media import real_pictures, write_video


def far_mp4(path: Path, *, delta: int = 0x7FFFFFF0) -> Path:
    """Frames that are each shown for ``delta`` seconds."""
    write_video(path, real_pictures(10, 64, 64), options={"bf": "0"})
    data = bytearray(path.read_bytes())
    timescale, durations = data.index(b"mdhd") + 16, data.index(b"stts") + 16
    data[timescale : timescale + 4] = (1).to_bytes(4, "big")
    data[durations : durations + 4] = delta.to_bytes(4, "big")
    # Its edit list would end after 400 ms.
    path.write_bytes(data.replace(b"edts", b"free"))
    return path


@pytest.mark.parametrize("fps", [None, 8.0])
@pytest.mark.parametrize("seek", [False, True])
def test_a_video_of_centuries_is_stored_without_its_duration(tmp_path, fps: float | None, seek: bool) -> None:
    path = far_mp4(tmp_path / "x.mp4")
    *clips, end = decode_item(
        str(path),
        span_ns=(None, None),
        sampling=SamplingSpec(fps=fps, clip_frames=1, seek=seek and fps is not None),
        sizes=squares(64),
        limits=LimitsSpec(),
        pixel_rule=2,
    )
    assert isinstance(end, ItemEnd)
    assert (end.outcome(len(clips)), end.reason) == (Outcome.PARTIAL, Reason.BAD_TIMESTAMPS)
    assert end.facts.duration_ns is None
    times = [time for clip in clips if isinstance(clip, DecodedClip) for time in (clip.start_ns, clip.end_ns)]
    assert pa.array(times, pa.int64()).null_count == 0


def test_a_duration_that_can_be_stored_is_kept(tmp_path) -> None:
    end = decode(far_mp4(tmp_path / "x.mp4", delta=600)).end
    assert (end.reason, end.facts.duration_ns) == (None, 6_000_000_000_000)


def test_a_video_of_centuries_is_planned_whole(tmp_path) -> None:
    probed = look_at(str(far_mp4(tmp_path / "x.mp4")), LimitsSpec())
    assert spans_of(probed, 600_000_000_000) == [(None, None)]
    probed = look_at(str(far_mp4(tmp_path / "y.mp4", delta=600)), LimitsSpec())
    assert len(spans_of(probed, 600_000_000_000)) == 10


def test_a_time_that_cannot_be_stored_is_no_time(tmp_path, monkeypatch) -> None:
    path = write_video(tmp_path / "x.mp4", real_pictures(3, 64, 64))
    plain = FrameClock.time_of
    monkeypatch.setattr(
        FrameClock, "time_of", lambda self, frame: (plain(self, frame) or 0) + frame.pts * 2**60
    )
    decoded = decode(path, clip_frames=1)
    assert (len(decoded.clips), decoded.end.reason) == (1, Reason.BAD_TIMESTAMPS)
    assert "cannot be stored" in (decoded.end.detail or "")


@pytest.mark.parametrize("shape", [(9_000_000, 1), (1, 9_000_000)])
def test_a_thread_of_pixels_is_refused_if_its_scaled_length_cannot_be_stored(tmp_path, shape) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.zeros(shape, np.uint8)).save(path)
    decoded = decode(path, size_px=256)
    assert (decoded.clips, decoded.end.reason) == ([], Reason.TOO_MANY_PIXELS)
    assert decode(path, size_px=128).end.reason is None
