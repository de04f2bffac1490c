"""Each odd file ends as the table says, the same each time, and says nothing on stderr."""

import dataclasses
import errno
import os
from itertools import pairwise

import av
import numpy as np
import pytest

from bitmill.pipeline.decode.library_faults import library_fault
from bitmill.schemas.outcomes import Reason
from tests.pipeline.decode.conftest import decode
from tests.support.media import ODD_FILES

NAMES = sorted(ODD_FILES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_ends_as_expected(odd, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    path, expected = odd(name), ODD_FILES[name]
    capfd.readouterr()
    decoded = decode(path)
    assert decoded.end.outcome(len(decoded.clips)) is expected.outcome
    assert decoded.end.reason is expected.reason
    if expected.num_frames is not None:
        assert sum(len(clip.frames_THWC) for clip in decoded.clips) == expected.num_frames
    if expected.reason is not None:
        detail = decoded.end.detail or ""
        assert detail.endswith(".")
        assert str(path) not in detail
        assert path.name not in detail
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", NAMES)
def test_clips_keep_their_invariants(odd, name: str) -> None:
    decoded = decode(odd(name), fps=10.0, clip_frames=4)
    for clip in decoded.clips:
        assert clip.frames_THWC.shape[1:] == (64, 64, 3)
        assert clip.frames_THWC.flags.c_contiguous
        assert clip.start_ns < clip.end_ns or decoded.end.facts.media == "image"
    for clip, follower in pairwise(decoded.clips):
        assert clip.end_ns == follower.start_ns


@pytest.mark.parametrize("name", ["plain.mp4", "damaged.mp4", "hevc10.mp4", "animated.gif", "cmyk.jpg"])
def test_same_file_same_events_under_any_name(odd, name: str, tmp_path) -> None:
    first = decode(odd(name))
    renamed = tmp_path / "no-name.txt"
    os.link(odd(name), renamed)
    again = decode(renamed)
    assert first.end == again.end
    for one, other in zip(first.clips, again.clips, strict=True):
        for field in dataclasses.fields(one):
            assert np.array_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (av.error.MemoryError(errno.ENOMEM, "no memory"), Reason.OUT_OF_MEMORY),
        (MemoryError(), Reason.OUT_OF_MEMORY),
        (OSError(errno.EIO, "disk"), Reason.READ_ERROR),
        (OSError(errno.ESTALE, "share"), Reason.READ_ERROR),
        (FileNotFoundError(errno.ENOENT, "gone"), Reason.NOT_FOUND),
        (av.error.InvalidDataError(1, "bad"), Reason.CORRUPT),
    ],
)
def test_what_the_machine_is_at_fault_for_is_not_told_as_damage(error, reason):
    assert library_fault(error, "/media/x.mp4").reason is reason
