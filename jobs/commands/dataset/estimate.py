"""``bitmill plan --estimate``: estimates a job's clips, tokens, bytes and time from a sample."""

from collections.abc import Callable, Sequence
from functools import partial

from bitmill.jobs.console import Console
from bitmill.jobs.preparation.models.find_frame_sizes import job_frame_sizes
from bitmill.jobs.preparation.models.job_tokenizer import job_tokenizer
from bitmill.jobs.preparation.models.measure_tokenizer import measure_tokenizer
from bitmill.jobs.progress.live_line import LiveLine
from bitmill.jobs.progress.summary import print_pairs
from bitmill.jobs.progress.units import bytes_text, duration_text
from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes
from bitmill.pipeline.planning.survey_sources import ROW_BYTES, Survey, survey_sources
from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.span_bytes import object_bytes
from bitmill.schemas.counted import counted
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.reports.estimate_report import Estimate, Quantity, SizeEstimate
from bitmill.schemas.requests.job import JobSpec, with_clip_frames

_SHOWN_SIZES = 8


def estimate_job(job: JobSpec, *, sample: int, console: Console | None = None) -> Estimate:
    """List the sources, probe up to ``sample`` videos and as many images, and time the tokenizer.

    Writes nothing; ``console`` shows the progress. Raises the errors of checking a job and of listing its
    sources.
    """
    tokenizer = job_tokenizer(job)
    geometry = tokenizer.geometry
    job, sizes = with_clip_frames(job, geometry.usual_frames), job_frame_sizes(job, geometry)
    found = find_sources(job.source)
    looked = survey(found.sources, job, geometry, sizes, sample=sample, console=console)
    clips, frames, tokens = (
        looked.total(lambda one: one.clips),
        looked.total(lambda one: one.frames),
        looked.tokens(),
    )
    codes = tokens.times(geometry.code.bits_per_token / 8)
    rows = Quantity(value=len(found.sources), standard_error=0).plus(clips)
    timing = measure_tokenizer(tokenizer, job, sizes.largest)
    return Estimate(
        sources=len(found.sources),
        size_bytes=object_bytes(found.sources),
        ignored_files=found.ignored_files,
        sampled=looked.sampled,
        unreadable=looked.unreadable,
        clips=clips,
        frames=frames,
        tokens=tokens,
        sizes=looked.by_size(),
        cropped=looked.cropped(),
        code_bytes=codes,
        stored_bytes=codes.plus(rows.times(ROW_BYTES)),
        device=timing.device,
        frames_per_s=timing.frames_per_s,
        batch=timing.batch,
        accelerator_hours=looked.frames_as_of(sizes.largest).times(1 / timing.frames_per_s / 3600),
    )


def survey(
    sources: Sequence[PlannedSource],
    job: JobSpec,
    geometry: Geometry,
    sizes: FrameSizes,
    *,
    sample: int,
    console: Console | None,
) -> Survey:
    """Probe a sample of the sources; ``console`` shows the progress."""
    look = partial(survey_sources, sources, job, geometry, sizes, sample=sample)
    if console is None:
        return look()
    with LiveLine(console) as line:
        return look(on_progress=lambda done: line.show(lambda: f"{counted(done, 'source')} probed"))


def print_estimate(estimate: Estimate, console: Console) -> None:
    """Print an estimate as a table."""
    unread = f", {estimate.unreadable} of which could not be read" if estimate.unreadable else ""
    batch = estimate.batch
    rows = [
        ("sources", f"{estimate.sources:,} ({bytes_text(estimate.size_bytes)})"),
        ("probed", f"{estimate.sampled:,} of them, spread over their sizes{unread}"),
        ("clips", _text(estimate.clips, _count)),
        ("frames", _text(estimate.frames, _count)),
        ("tokens", _text(estimate.tokens, _count)),
        ("stored", _text(estimate.stored_bytes, _bytes)),
        *size_rows(estimate.sizes),
        ("cropped", "nothing" if not estimate.cropped else f"about {estimate.cropped:.1%} of the picture"),
        (
            "time",
            f"{_text(estimate.accelerator_hours.times(3600), duration_text)} of one device, without decoding",
        ),
        ("timed on", f"{estimate.device}: {estimate.frames_per_s:,.1f} frames/s"),
    ]
    if batch.memory_bytes is not None:
        of = f"{counted(batch.frames, 'frame')} of {batch.height_px}×{batch.width_px}"
        rows.append(("memory", f"{bytes_text(batch.memory_bytes)} for a batch of {of} there"))
    if estimate.ignored_files:
        rows.append(("left out", f"{counted(estimate.ignored_files, 'file')} without a media name"))
    print_pairs(rows, console)
    if estimate.frames.bounds is None:
        console.print("The sample is too small to estimate the error; increase --sample.")
    elif estimate.frames.standard_error:
        console.print("Ranges are the estimate ± two standard errors of the sample.")


def size_rows(sizes: Sequence[SizeEstimate]) -> list[tuple[str, str]]:
    """Returns a row of text per frame size, and one for those left out; none if there is one size alone."""
    if len(sizes) < 2:
        return []
    rows = [
        (
            f"{size.height_px}×{size.width_px}",
            (
                f"about {counted(_count(size.items.value), 'item')}, "
                f"{counted(_count(size.clips.value), 'clip')}, "
                f"{counted(_count(size.tokens.value), 'token')}, {_bytes(size.stored_bytes.value)}"
                f"{'' if size.cropped is None else f', {size.cropped:.1%} cropped away'}"
            ),
        )
        for size in sizes[:_SHOWN_SIZES]
    ]
    rest = sizes[_SHOWN_SIZES:]
    if rest:
        items, stored = sum(one.items.value for one in rest), sum(one.stored_bytes.value for one in rest)
        told = f"about {counted(_count(items), 'item')}, {_bytes(stored)}"
        rows.append(("others", f"{counted(len(rest), 'size')}: {told}"))
    return rows


def _text(quantity: Quantity, text: Callable[[float], str]) -> str:
    bounds = quantity.bounds
    if bounds is None or bounds[0] == bounds[1]:
        return f"about {text(quantity.value)}"
    return f"about {text(quantity.value)} ({text(bounds[0])} to {text(bounds[1])})"


def _count(value: float) -> str:
    return f"{round(value):,}"


def _bytes(value: float) -> str:
    return bytes_text(round(value))
