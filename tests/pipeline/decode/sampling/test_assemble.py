"""Which frames of a timeline go into clips, and which are dropped."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.decode.sampling.assemble import Assembled, FittedFrame, assemble
from bitmill.pipeline.decode.sampling.timeline import Sample, TimelineEnd
from bitmill.pipeline.items import Crop, DecodedClip
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.requests.job import SamplingSpec

STEP_NS = 40_000_000
VIDEO = Geometry(patch_px=(8, 8), frames_per_token=4, lead_frames=1, code=Code.of_bits(4))
WHOLE_ROWS = Geometry(patch_px=(8, 8), frames_per_token=4, code=Code.of_bits(4))


def _draw(frame: int) -> FittedFrame:
    crop = Crop(scaled_height=8, scaled_width=14, top=0, left=3)
    return FittedFrame(np.full((8, 8, 3), frame % 256, np.uint8), 90, 160, crop)


def _assembled(
    num_samples: int, clip_frames: int, *, min_frames: int = 1, drop_to: Geometry | None = None
) -> tuple[list[DecodedClip], Assembled]:
    samples = [
        Sample(frame=frame, pts_ns=frame * STEP_NS, at_ns=frame * STEP_NS) for frame in range(num_samples)
    ]
    stop_ns = num_samples * STEP_NS
    end = TimelineEnd(
        end_ns=stop_ns, media_end_ns=stop_ns, num_frames=num_samples, frame_ns=STEP_NS, fault=None
    )
    done: list[Assembled] = []

    def clips() -> Iterator[DecodedClip]:
        found = yield from assemble(
            iter([*samples, end]),
            _draw,
            sampling=SamplingSpec(clip_frames=clip_frames, min_frames=min_frames),
            drop_to=drop_to,
            max_frames=10_000,
            native_fps=25.0,
        )
        done.append(found)

    return list(clips()), done[0]


@given(
    num_samples=st.integers(1, 60),
    clip_frames=st.sampled_from([1, 5, 9, 17]),
    min_frames=st.integers(1, 9),
    drop=st.booleans(),
)
def test_every_sample_is_in_a_clip_or_counted_as_dropped(num_samples, clip_frames, min_frames, drop):
    min_frames = min(min_frames, clip_frames)
    clips, done = _assembled(num_samples, clip_frames, min_frames=min_frames, drop_to=VIDEO if drop else None)
    kept = [int(pts) // STEP_NS for clip in clips for pts in clip.frame_pts_ns]
    assert (done.num_clips, done.num_samples) == (len(clips), num_samples)
    assert done.num_dropped == num_samples - len(kept)
    tail = num_samples % clip_frames
    # min_frames counts real frames, before anything is dropped for its length.
    left = tail if tail >= min_frames else 0
    left = (VIDEO.legal_at_most(left) or 0) if drop and left else left
    assert kept == list(range(num_samples - tail + left))
    for clip in clips:
        assert not drop or VIDEO.is_legal(len(clip.frames_THWC))
        assert clip.end_ns == int(clip.frame_pts_ns[-1]) + STEP_NS


@pytest.mark.parametrize(("num_samples", "kept"), [(3, []), (4, [4]), (7, [4]), (11, [8])])
def test_a_clip_shorter_than_every_legal_length_is_dropped_whole(num_samples, kept):
    clips, done = _assembled(num_samples, 16, drop_to=WHOLE_ROWS)
    assert [len(clip.frames_THWC) for clip in clips] == kept
    assert done.num_dropped == num_samples - sum(kept)
