"""Datasets of several frame sizes from real media: each clip is shown in its own shape beside its source."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from bitmill.jobs.execution.audit_dataset import AuditRequest, run_audit
from bitmill.pipeline.auditing.options import AuditOptions
from bitmill.pipeline.inspection.make_preview import preview_clips
from bitmill.pipeline.inspection.show_preview import side_by_side, write_sheet, write_video
from tests.support.media import jpeg_photo, real_pictures
from tests.support.media import write_video as write_source
from tests.support.tokenized import tokenize_here

pytestmark = pytest.mark.usefixtures("forked_children")

BUCKETS = [[32, 56], [56, 32], [32, 32]]
HEAD_PX = 30
"""Two lines of text above the frames of a video."""
OF_SOURCE = {
    "anamorphic.mp4": (32, 56),
    "high.mp4": (56, 32),
    "photo.jpg": (32, 56),
    "square.mp4": (32, 32),
    "wide.mp4": (32, 56),
}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wide clip, one turned upright, one of wide pixels, a square one, and a photograph."""
    media = tmp_path_factory.mktemp("media")
    write_source(media / "wide.mp4", real_pictures(9, 112, 64), fps=10)
    write_source(media / "high.mp4", real_pictures(9, 112, 64), fps=10, rotation=90)
    write_source(media / "anamorphic.mp4", real_pictures(6, 56, 64), fps=10, sample_aspect_ratio=Fraction(2))
    write_source(media / "square.mp4", real_pictures(6, 80, 80), fps=10)
    jpeg_photo(media / "photo.jpg")
    tokens = tmp_path_factory.mktemp("mixed") / "tokens"
    tokenize_here(media, tokens, fps=5.0, frames={"buckets": BUCKETS, "interpolate_positions": True})
    return tokens


def clips_of(tokens: Path):
    return preview_clips(str(tokens), clip_ids=None, sources=[], max_clips=99)


def test_each_clip_is_decoded_in_its_shape_and_compared_with_its_source(tokens: Path):
    clips = list(clips_of(tokens))
    assert {Path(clip.source).name for clip in clips} == set(OF_SOURCE)
    for clip in clips:
        size = OF_SOURCE[Path(clip.source).name]
        assert clip.decoded_THWC.shape[1:3] == size
        assert clip.original_THWC is not None
        assert clip.original_THWC.shape == clip.decoded_THWC.shape
        assert clip.box_px == (56, 56)


def test_a_video_has_frames_of_one_size_with_each_clip_in_the_middle(tokens: Path, tmp_path: Path):
    path = tmp_path / "clips.mp4"
    written = write_video(clips_of(tokens), path)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert frames[0].shape == (HEAD_PX + 56, 56 + 4 + 56, 3)
    frames = [frame[HEAD_PX:] for frame in frames]
    # The first clip is wide: white above and below, and the source on the left.
    assert Path(written[0].source).name == "anamorphic.mp4"
    original = written[0].original_THWC
    assert original is not None
    assert frames[0][:10].min() > 240
    assert frames[0][46:].min() > 240
    assert np.abs(frames[0][12:44, :56].astype(float) - original[0]).mean() < 12
    # The last but the photograph's and the square's are upright.
    high = next(number for number, clip in enumerate(written) if clip.source.endswith("high.mp4"))
    shown = frames[sum(len(clip.decoded_THWC) for clip in written[:high])]
    assert shown[:, :10].min() > 240
    assert shown[:, 14:42].min() < 200


def test_a_videos_frames_have_a_name_and_a_time_above_them(tokens: Path):
    heads = {
        Path(clip.source).name: side_by_side(clip)[:, : HEAD_PX // 2]
        for clip in clips_of(tokens)
        if clip.start_ns == 0
    }
    names, times = (
        {name: head[:, :, part] for name, head in heads.items()} for part in (slice(58), slice(70, None))
    )
    clip, other, photo = "wide.mp4", "high.mp4", "photo.jpg"
    assert (names[clip][0] == names[clip][1]).all()
    assert names[clip].min() < 100
    assert (names[clip][0] != names[other][0]).any()
    assert (times[clip][0] != times[clip][1]).any()
    assert (times[clip][0] == times[other][0]).all()
    assert times[photo].min() == 255


def test_a_sheet_has_rows_of_different_shape(tokens: Path, tmp_path: Path):
    written = write_sheet(clips_of(tokens), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height == sum(16 + 2 * (clip.decoded_THWC.shape[1] + 4) for clip in written)


def test_a_sample_has_frames_too_small_for_some_scores(tmp_path: Path):
    media = tmp_path / "media"
    media.mkdir()
    write_source(media / "strip.mp4", real_pictures(4, 64, 16), fps=10)
    write_source(media / "wide.mp4", real_pictures(4, 112, 64), fps=10)
    frames = {"native": {"short_side_px": 64}, "interpolate_positions": True}
    tokenize_here(media, tmp_path / "tokens", fps=5.0, frames=frames)
    drawn = run_audit(str(tmp_path / "tokens"), AuditRequest(asked=AuditOptions(sample=9), workers=1)).report
    assert drawn.sample is not None
    strip, wide = sorted(drawn.sample.clips, key=lambda clip: clip.clip.source)
    assert (strip.problem, strip.lpips, strip.differing_bits) == (None, None, 0)
    assert strip.ssim is not None
    assert wide.differing_bits == 0
    sizes = {(size.height_px, size.width_px) for size in drawn.coverage.sizes}
    assert sizes == {(16, 64), (64, 112)}
    assert [found.kind for found in drawn.findings if found.severity == "damaged"] == []


def test_a_sample_of_all_sizes_is_tokenized_again_to_the_same_bits(tokens: Path):
    made = run_audit(str(tokens), AuditRequest(asked=AuditOptions(sample=99), workers=1))
    sample = made.report.sample
    assert sample is not None
    assert sample.compared == sample.num_clips == made.report.coverage.total.clips
    assert sample.differing_bits == 0
    assert {(size.height_px, size.width_px) for size in made.report.coverage.sizes} == set(OF_SOURCE.values())
    assert not [found for found in made.report.findings if found.severity != "note"]
    # The upright clip is cropped at its sides as the wide one is: 112×64 is 7:4, as the buckets are.
    assert made.report.coverage.cropped == pytest.approx(0, abs=0.02)
