"""What an estimate says against what a job gives, and the laws of its sample."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitmill.jobs.commands.dataset.estimate import estimate_job, print_estimate
from bitmill.jobs.console import Console
from bitmill.pipeline.decode.pixels.frame_sizes import squares
from bitmill.pipeline.isolation.source_events import DecodeSettings, source_events
from bitmill.pipeline.items import DecodedClip
from bitmill.pipeline.planning import probe_sources as probing
from bitmill.pipeline.planning.estimate_job import Stratum, Yield, spread, whole, yield_of
from bitmill.pipeline.planning.probe_sources import Probed
from bitmill.pipeline.sources.listing import find_sources
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.reports.estimate_report import BatchMemory, Estimate, Quantity
from bitmill.schemas.requests.job import LimitsSpec, SamplingSpec
from tests.support.fakes import make_job, make_source
from tests.support.media import animated_gif, jpeg_photo, plain_mp4, text_file, vfr_mp4
from tests.support.tars import write_tar

pytestmark = pytest.mark.usefixtures("briefly_timed", "forked_children")

_GEOMETRY = Geometry(patch_px=(8, 8), frames_per_token=4, lead_frames=1, code=Code.of_bits(12))


@pytest.mark.slow
@pytest.mark.parametrize("fps", [None, 7.0, 100.0])
def test_a_sample_of_everything_is_exact(tmp_path, fps):
    media = tmp_path / "media"
    media.mkdir()
    plain_mp4(media / "a.mp4")
    vfr_mp4(media / "b.mp4")
    jpeg_photo(media / "c.jpg")
    text_file(media / "d.mp4")
    animated_gif(media / "e.gif")
    (media / "notes.txt").write_text("left out")
    members = [(name, (media / name).read_bytes()) for name in ("a.mp4", "c.jpg", "d.mp4", "e.gif")]
    write_tar(media / "f.tar", members)
    job = make_job(
        source={"paths": [str(media)]},
        output=str(tmp_path / "tokens"),
        sampling={"fps": fps, "min_frames": 3},
    )
    estimate = estimate_job(job, sample=64)
    clips = [
        event
        for source in find_sources(job.source).sources
        for event in source_events(source, DecodeSettings.of(job, squares(16), pixel_rule=2))
        if isinstance(event, DecodedClip)
    ]
    assert (estimate.sources, estimate.sampled, estimate.unreadable, estimate.ignored_files) == (6, 6, 1, 1)
    assert estimate.clips.value == pytest.approx(len(clips))
    assert estimate.frames.value == pytest.approx(sum(len(clip.frames_THWC) for clip in clips))
    assert estimate.frames.standard_error == 0
    assert estimate.tokens.value == pytest.approx(estimate.frames.value * 16 * 16)
    assert estimate.code_bytes.value == pytest.approx(estimate.tokens.value * 18 / 8)
    assert estimate.stored_bytes.value == pytest.approx(
        estimate.code_bytes.value + 50 * (estimate.clips.value + 6)
    )
    assert estimate.accelerator_hours.value * 3600 * estimate.frames_per_s == pytest.approx(
        estimate.frames.value
    )
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (0.0048, "about 17 s (10 s to 24 s) of one device"),
        (0.5, "about 30 min 00 s (29 min 53 s to 30 min 07 s) of one device"),
        (5000.0, "about 5,000 h 00 min of one device"),
    ],
)
def test_time_is_told_in_units_that_fit_it(hours, told):
    quantity = Quantity(value=10.0, standard_error=0)
    estimate = Estimate(
        sources=1,
        size_bytes=1000,
        ignored_files=0,
        sampled=1,
        unreadable=0,
        clips=quantity,
        frames=quantity,
        tokens=quantity,
        sizes=(),
        cropped=0.125,
        code_bytes=quantity,
        stored_bytes=quantity,
        device="cpu",
        frames_per_s=1.0,
        batch=BatchMemory(height_px=16, width_px=16, frames=64, memory_bytes=None),
        accelerator_hours=Quantity(value=hours, standard_error=0.001 if hours < 1 else 0),
    )
    console = Console(file=io.StringIO(), width=400)
    print_estimate(estimate, console)
    assert told in console.file.getvalue()
    assert "about 12.5% of the picture" in console.file.getvalue()


@pytest.mark.slow
def test_spans_of_one_video_are_looked_at_once_and_its_bytes_count_once(tmp_path, monkeypatch):
    video, looked_at = plain_mp4(tmp_path / "a.mp4"), []

    def probe_sources(sources, limits, *, workers):
        looked_at.extend(sources)
        return probing.probe_sources(looked_at, limits, workers=workers)

    monkeypatch.setattr("bitmill.pipeline.planning.survey_sources.probe_sources", probe_sources)
    rows = "".join(f"a.mp4,{0.2 * number:.1f},{0.2 * number + 0.2:.1f}\n" for number in range(8))
    (tmp_path / "m.csv").write_text("uri,start,end\n" + rows)
    job = make_job(source={"manifest": str(tmp_path / "m.csv")}, sampling={"fps": 10.0})
    estimate = estimate_job(job, sample=4)
    assert (estimate.sources, estimate.sampled, len(looked_at)) == (8, 4, 1)
    assert estimate.size_bytes == video.stat().st_size
    assert (estimate.clips.value, estimate.frames.value) == pytest.approx((8, 16))


def test_a_job_that_cannot_run_is_not_estimated(tmp_path):
    plain_mp4(tmp_path / "a.mp4")
    job = make_job(source={"paths": [str(tmp_path)]}, sampling={"clip_frames": 999})
    with pytest.raises(
        UsageError, match=r"clip_frames 999 is no length of clips that the tokenizer takes; the nearest is 16"
    ):
        estimate_job(job, sample=1)


SIZES = st.lists(st.integers(1, 10**6), min_size=1, max_size=60)
SIZE = (16, 16)


@given(SIZES, st.integers(1, 70))
def test_a_sample_is_spread_over_the_sizes_and_always_the_same(sizes, count):
    sources = [make_source(number, size_bytes=size) for number, size in enumerate(sizes)]
    sample = spread(sources, count)
    assert len(sample) == len({source.uri for source in sample}) == min(count, len(sizes))
    assert sample == spread(sources[::-1], count)
    ordered = sorted(sizes)
    for place, source in enumerate(sample):
        # One from each of ``count`` stretches of equal length.
        low, high = place * len(ordered) // len(sample), -(-(place + 1) * len(ordered) // len(sample))
        assert ordered[low] <= source.size_bytes <= ordered[high - 1]


@given(SIZES, st.integers(1, 9), st.integers(1, 60))
def test_what_grows_with_bytes_is_told_from_any_sample(sizes, frames_per_byte, count):
    sources = [make_source(number, size_bytes=size) for number, size in enumerate(sizes)]
    sampled = tuple(
        (source.size_bytes, {SIZE: Yield(frames=source.size_bytes * frames_per_byte)})
        for source in spread(sources, count)
    )
    part = Stratum(num_sources=len(sizes), size_bytes=sum(sizes), sampled=sampled, by_bytes=True)
    total = whole([part], lambda yields: yields[SIZE].frames)
    assert total.value == pytest.approx(sum(sizes) * frames_per_byte)
    if len(sampled) == 1 < len(sizes):
        assert total.standard_error is None
    else:
        assert total.standard_error == pytest.approx(0, abs=1e-3)


def test_the_error_is_that_of_a_sample_without_replacement():
    sampled = tuple((1, {SIZE: Yield(frames=frames)}) for frames in (2, 4, 6))
    part = Stratum(num_sources=12, size_bytes=12, sampled=sampled, by_bytes=False)
    total = whole([part], lambda yields: yields[SIZE].frames)
    # 12² · (1 − 3/12) · s²/3 with s² = 4.
    assert (total.value, total.standard_error) == (48, pytest.approx(12))
    assert total.bounds == (pytest.approx(24), pytest.approx(72))


@pytest.mark.parametrize(
    ("span_s", "fps", "expected"),
    [
        ((None, None), 10, (7, 100)),
        ((2, 4), 10, (2, 20)),
        ((9, None), 10, (1, 10)),
        ((20, 30), 10, (0, 0)),
        ((2, 4), None, (4, 50)),
        ((None, None), 0.1, (1, 1)),
    ],
)
def test_a_span_gives_its_share(span_s, fps, expected):
    start_ns, end_ns = (None if s is None else s * 10**9 for s in span_s)
    source = PlannedSource(uri="/a.mp4", size_bytes=1, version="", start_ns=start_ns, end_ns=end_ns)
    probed = Probed(media="video", num_frames=250, start_ns=0, end_ns=10 * 10**9)
    given_ = yield_of(source, probed, SamplingSpec(fps=fps), LimitsSpec(), _GEOMETRY)
    assert (given_.clips, given_.frames) == expected
