"""Estimates a job's clips and frames from a sample of its sources. Pure arithmetic."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from bitmill.pipeline.decode.pixels.crop import scaled_size
from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes
from bitmill.pipeline.decode.sampling.timeline import SECOND_NS, TOLERANCE_NS, exact_rate
from bitmill.pipeline.planning.probe_sources import Found, Probed, ProbedArchive
from bitmill.pipeline.sources.listing import is_image_name
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.models.geometry import Geometry, SizePx
from bitmill.schemas.reports.estimate_report import Quantity
from bitmill.schemas.requests.job import JobSpec, LimitsSpec, SamplingSpec


@dataclass(frozen=True, kw_only=True)
class Yield:
    """Number of items, clips, frames and rows of tokens of one source."""

    items: int = 0
    clips: int = 0
    frames: int = 0
    rows: int = 0
    scaled_px: int = 0
    """Pixels of all frames as they are scaled, before the crop."""

    def plus(self, other: "Yield") -> "Yield":
        """Returns the sum of two."""
        return Yield(
            items=self.items + other.items,
            clips=self.clips + other.clips,
            frames=self.frames + other.frames,
            rows=self.rows + other.rows,
            scaled_px=self.scaled_px + other.scaled_px,
        )


Yields = Mapping[SizePx, Yield]
"""Of one source, by the size of its frames."""


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """A group of similar sources and its sample."""

    num_sources: int
    size_bytes: int
    sampled: tuple[tuple[int, Yields], ...]
    """Size in bytes (a span's share of its object) and yields of each sampled source."""
    by_bytes: bool
    """Whether a source's yield is proportional to its bytes (videos) or not (images)."""


def spread(sources: Sequence[PlannedSource], count: int) -> list[PlannedSource]:
    """Returns ``count`` sources (or all, if fewer), evenly spaced in order of size."""
    ordered = sorted(sources, key=lambda source: (source.size_bytes, source.uri, source.start_ns or 0))
    if count >= len(ordered):
        return ordered
    return [ordered[(2 * place + 1) * len(ordered) // (2 * count)] for place in range(count)]


def strata(sources: Sequence[PlannedSource]) -> tuple[list[PlannedSource], list[PlannedSource]]:
    """Split sources into images, by suffix, and all others."""
    images = [source for source in sources if is_image_name(source.uri)]
    return images, [source for source in sources if not is_image_name(source.uri)]


def yields_of(
    source: PlannedSource, probed: Found, job: JobSpec, geometry: Geometry, sizes: FrameSizes
) -> dict[SizePx, Yield]:
    """Estimate a source's yields, by size; none if it could not be read."""
    yields: dict[SizePx, Yield] = {}
    members = probed.members if isinstance(probed, ProbedArchive) else [probed]
    for one in members:
        if one is not None:
            size = sizes.size_of(one.width, one.height, one.aspect)
            found = yield_of(source, one, job.sampling, job.limits, geometry)
            scaled_px = found.frames * prod(scaled_size(one.width, one.height, one.aspect, size))
            yields[size] = yields.get(size, Yield()).plus(replace(found, scaled_px=scaled_px))
    return yields


def yield_of(
    source: PlannedSource, probed: Probed, sampling: SamplingSpec, limits: LimitsSpec, geometry: Geometry
) -> Yield:
    """Estimate an item's yield from its duration and frame count, whatever the size of its frames."""
    if probed.media == "image":
        return Yield(items=1, clips=1, frames=1, rows=_rows(1, geometry))
    start_ns = max(probed.start_ns, source.start_ns or 0)
    end_ns = probed.end_ns if source.end_ns is None else min(probed.end_ns, source.end_ns)
    taken_ns, whole_ns = end_ns - start_ns, probed.end_ns - probed.start_ns
    if taken_ns <= 0 and whole_ns > 0:
        return Yield(items=1)
    if sampling.fps is not None:
        frames = math.ceil((taken_ns - TOLERANCE_NS) * exact_rate(sampling.fps) / SECOND_NS)
    else:
        frames = probed.num_frames if whole_ns <= 0 else round(probed.num_frames * taken_ns / whole_ns)
    frames = min(max(frames, 1), limits.max_frames)
    length = sampling.num_clip_frames
    full, rest = divmod(frames, length)
    kept = rest if rest >= sampling.min_frames else 0
    rows = full * _rows(length, geometry) + (_rows(kept, geometry) if kept else 0)
    return Yield(items=1, clips=full + bool(kept), frames=full * length + kept, rows=rows)


def _rows(num_frames: int, geometry: Geometry) -> int:
    """Returns the rows of tokens of a clip, which is padded to a legal length."""
    return geometry.token_rows(geometry.legal_at_least(num_frames) or num_frames)


def whole(parts: Sequence[Stratum], of: Callable[[Yields], float]) -> Quantity:
    """Estimate a total of the whole job, of what a source adds to it, with its standard error.

    Uses a ratio estimator (yield per byte) for videos and the mean for images. The standard error is from the
    sample's variance with finite population correction: 0 if every source was sampled, None for a sample of
    one.
    """
    value, variance = 0.0, 0.0
    unknown = False
    for part in parts:
        if not part.sampled:
            continue
        yields = [of(one) for _, one in part.sampled]
        count, sampled_bytes = len(yields), sum(size for size, _ in part.sampled)
        if part.by_bytes and sampled_bytes:
            rate = sum(yields) / sampled_bytes
            value += rate * part.size_bytes
            errors = [y - rate * size for y, (size, _) in zip(yields, part.sampled, strict=True)]
        else:
            mean = sum(yields) / count
            value += mean * part.num_sources
            errors = [y - mean for y in yields]
        left_out = 1 - count / part.num_sources
        if count > 1:
            scatter = sum(error**2 for error in errors) / (count - 1)
            variance += part.num_sources**2 * left_out * scatter / count
        else:
            unknown = unknown or left_out > 0
    return Quantity(value=value, standard_error=None if unknown else math.sqrt(variance))
