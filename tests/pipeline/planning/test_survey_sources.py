"""What a sample says of each frame size, against what decoding gives."""

from collections import Counter

import pytest

from bitmill.pipeline.decode.pixels.frame_sizes import Buckets, NativeSizes, squares
from bitmill.pipeline.isolation.source_events import DecodeSettings, source_events
from bitmill.pipeline.items import DecodedClip
from bitmill.pipeline.planning.survey_sources import survey_sources
from bitmill.pipeline.sources.listing import find_sources
from bitmill.schemas.models.geometry import Code, Geometry
from tests.support.fakes import make_job
from tests.support.media import ODD_FILES, text_file
from tests.support.tars import write_tar

pytestmark = pytest.mark.usefixtures("forked_children")

GEOMETRY = Geometry(patch_px=(8, 8), frames_per_token=4, lead_frames=1, code=Code.of_bits(12))
NAMES = ["plain.mp4", "rotated.mp4", "anamorphic.mp4", "photo.jpg", "exif.jpg", "animated.gif"]


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    for name in NAMES:
        ODD_FILES[name].make(folder / name)
    write_tar(folder / "all.tar", [(name, (folder / name).read_bytes()) for name in NAMES])
    text_file(folder / "broken.mp4")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes",
    [
        Buckets(((32, 64), (64, 32), (48, 48), (16, 160))),
        NativeSizes(multiple_px=(8, 8), short_side_px=40),
        NativeSizes(multiple_px=(16, 8), area_px=2000),
        squares(48),
    ],
)
def test_a_sample_of_everything_is_exact_for_each_size(media, sizes):
    job = make_job(source={"paths": [str(media)]}, sampling={"fps": 8.0, "clip_frames": 9})
    sources = find_sources(job.source).sources
    clips, frames, rows, scaled_px = Counter(), Counter(), Counter(), Counter()
    for source in sources:
        for event in source_events(source, DecodeSettings.of(job, sizes, pixel_rule=2)):
            if isinstance(event, DecodedClip):
                clips[event.frames_THWC.shape[1:3]] += 1
                frames[event.frames_THWC.shape[1:3]] += len(event.frames_THWC)
                crop_px = event.crop.scaled_height * event.crop.scaled_width
                scaled_px[event.frames_THWC.shape[1:3]] += crop_px * len(event.frames_THWC)
                # The lead frame of a picture or a clip has a row of its own, a padded tail a whole one.
                rows[event.frames_THWC.shape[1:3]] += 1 + -(-(len(event.frames_THWC) - 1) // 4)
    probed = []
    survey = survey_sources(sources, job, GEOMETRY, sizes, sample=64, on_progress=probed.append)
    assert (survey.sampled, survey.unreadable) == (8, 1)
    assert probed == list(range(1, 9))
    found = {(one.height_px, one.width_px): one for one in survey.by_size()}
    if isinstance(sizes, Buckets):
        assert list(found) == list(sizes.sizes)
    else:
        assert set(found) == set(clips)
    for size, one in found.items():
        assert round(one.clips.value) == clips[size]
        assert round(one.frames.value) == frames[size]
        assert one.tokens.value == rows[size] * (size[0] // 8) * (size[1] // 8)
        assert one.frames.standard_error == 0
        kept_px = frames[size] * size[0] * size[1]
        assert one.cropped == (pytest.approx(1 - kept_px / scaled_px[size]) if kept_px else None)
    assert round(sum(one.items.value for one in found.values())) == 2 * len(NAMES)
    kept_px = sum(count * size[0] * size[1] for size, count in frames.items())
    assert survey.cropped() == pytest.approx(1 - kept_px / scaled_px.total())
    assert survey.tokens().value == pytest.approx(sum(one.tokens.value for one in found.values()))
