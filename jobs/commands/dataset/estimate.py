"""``bitmill plan --estimate``: estimates a job's clips, tokens, bytes and time from a sample."""

import time
from collections.abc import Callable

import numpy as np
import torch

from bitmill.bsq_model.families import load_files
from bitmill.bsq_model.numerics import set_numerics
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.find_frame_sizes import job_frame_sizes
from bitmill.jobs.preparation.find_tokenizers import LoadedTokenizer, job_tokenizer
from bitmill.jobs.progress.summary import print_pairs
from bitmill.jobs.progress.units import bytes_text, duration_text
from bitmill.pipeline.cpu_count import available_cpus
from bitmill.pipeline.planning.estimate_job import Stratum, spread, strata, whole, yield_of
from bitmill.pipeline.planning.probe_sources import probe_sources
from bitmill.pipeline.shard.encoder import ModelEncoder
from bitmill.pipeline.sources.listing import find_sources
from bitmill.pipeline.span_bytes import object_bytes, shares, together
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.reports.estimate_report import Estimate, Quantity
from bitmill.schemas.requests.job import JobSpec, with_clip_frames

_TIMED_S = 2.0
_LONGEST_BATCH_S = 10.0

_ROW_BYTES = 50
"""Bytes per clip next to its codes, and per source in plan and ledger together, names included."""


def estimate_job(job: JobSpec, *, sample: int) -> Estimate:
    """List the sources, probe up to ``sample`` videos and as many images, and time the tokenizer.

    Writes nothing. Raises the errors of checking a job and of listing its sources.
    """
    tokenizer = job_tokenizer(job)
    job = with_clip_frames(job, tokenizer.geometry.usual_frames)
    found = find_sources(job.source)
    parts: list[Stratum] = []
    unreadable = 0
    for by_bytes, sources in zip((False, True), strata(found.sources), strict=True):
        part, unread = _looked_at(sources, job, sample, by_bytes=by_bytes)
        parts.append(part)
        unreadable += unread
    clips, frames = whole(parts, "clips"), whole(parts, "frames")
    tokens_per_frame = _tokens_per_frame(tokenizer.geometry, job)
    codes = frames.times(tokens_per_frame * tokenizer.geometry.code.bits_per_token / 8)
    rows = Quantity(value=len(found.sources), standard_error=0).plus(clips)
    device, frames_per_s = time_tokenizer(tokenizer, job)
    return Estimate(
        sources=len(found.sources),
        size_bytes=object_bytes(found.sources),
        ignored_files=found.ignored_files,
        sampled=sum(len(part.sampled) for part in parts),
        unreadable=unreadable,
        clips=clips,
        frames=frames,
        tokens=frames.times(tokens_per_frame),
        code_bytes=codes,
        stored_bytes=codes.plus(rows.times(_ROW_BYTES)),
        device=device,
        frames_per_s=frames_per_s,
        accelerator_hours=frames.times(1 / frames_per_s / 3600),
    )


def _looked_at(
    sources: list[PlannedSource], job: JobSpec, sample: int, *, by_bytes: bool
) -> tuple[Stratum, int]:
    chosen = spread(sources, sample)
    objects = {source.object: source for source in chosen}
    workers = max(1, min(available_cpus(), len(objects)))
    found = {
        source.object: facts for source, facts in probe_sources(objects.values(), job.limits, workers=workers)
    }
    bytes_of = {
        source.place: share_bytes
        for run in together(sources)
        for source, share_bytes in zip(run, shares(run), strict=True)
    }
    part = Stratum(
        num_sources=len(sources),
        size_bytes=sum(bytes_of.values()),
        sampled=tuple(
            (bytes_of[source.place], yield_of(source, found[source.object], job.sampling, job.limits))
            for source in chosen
        ),
        by_bytes=by_bytes,
    )
    return part, sum(found[source.object] is None for source in chosen)


def _tokens_per_frame(geometry: Geometry, job: JobSpec) -> float:
    """Of a full clip; padded tails have more."""
    size, clip_frames = job_frame_sizes(job, geometry).largest, job.sampling.num_clip_frames
    grid = geometry.token_rows(clip_frames), *geometry.grid(*size)
    return geometry.num_tokens(grid) / clip_frames


def time_tokenizer(tokenizer: LoadedTokenizer, job: JobSpec) -> tuple[str, float]:
    """Returns (description of the device, frames per second that one tokenizer encodes on it)."""
    on_gpu = torch.cuda.is_available() and job.compute.device != "cpu"
    if not on_gpu:
        torch.set_num_threads(job.compute.threads)
    model = load_files(tokenizer.files)
    set_numerics(model, job.compute.dtype, "cuda" if on_gpu else "cpu")
    encoder = ModelEncoder(model)
    size, clip_frames = job_frame_sizes(job, tokenizer.geometry).largest, job.sampling.num_clip_frames
    clip_THWC = np.random.default_rng(0).integers(0, 256, (clip_frames, *size, 3), np.uint8)
    # The first pass is a warm-up; the second decides whether a whole batch is affordable.
    encoder.encode([clip_THWC])
    started = time.perf_counter()
    encoder.encode([clip_THWC])
    clip_s = time.perf_counter() - started
    batch = max(1, job.compute.batch_frames // clip_frames)
    clips = [clip_THWC] * (batch if clip_s * batch < _LONGEST_BATCH_S else 1)
    num_frames = 0
    started = time.perf_counter()
    while not num_frames or time.perf_counter() - started < _TIMED_S:
        encoder.encode(clips)
        num_frames += len(clips) * clip_frames
    rate = num_frames / (time.perf_counter() - started)
    threads = job.compute.threads
    device = torch.cuda.get_device_name() if on_gpu else f"this machine's CPU, {threads} thread(s)"
    return f"{device}, {job.compute.dtype}", rate


def print_estimate(estimate: Estimate, console: Console) -> None:
    """Print an estimate as a table."""
    unread = f", {estimate.unreadable} of which could not be read" if estimate.unreadable else ""
    rows = [
        ("sources", f"{estimate.sources:,} ({bytes_text(estimate.size_bytes)})"),
        ("probed", f"{estimate.sampled:,} of them, spread over their sizes{unread}"),
        ("clips", _text(estimate.clips, _count)),
        ("frames", _text(estimate.frames, _count)),
        ("tokens", _text(estimate.tokens, _count)),
        ("stored", _text(estimate.stored_bytes, lambda value: bytes_text(round(value)))),
        (
            "time",
            f"{_text(estimate.accelerator_hours.times(3600), duration_text)} of one device, without decoding",
        ),
        ("timed on", f"{estimate.device}: {estimate.frames_per_s:,.1f} frames/s"),
    ]
    if estimate.ignored_files:
        rows.append(("left out", f"{estimate.ignored_files} files that are no media by their names"))
    print_pairs(rows, console)
    if estimate.frames.bounds is None:
        console.print("The sample is too small to estimate the error; increase --sample.")
    elif estimate.frames.standard_error:
        console.print("Ranges are the estimate ± two standard errors of the sample.")


def _text(quantity: Quantity, text: Callable[[float], str]) -> str:
    bounds = quantity.bounds
    if bounds is None or bounds[0] == bounds[1]:
        return f"about {text(quantity.value)}"
    return f"about {text(quantity.value)} ({text(bounds[0])} to {text(bounds[1])})"


def _count(value: float) -> str:
    return f"{round(value):,}"
