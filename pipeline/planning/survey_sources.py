"""Probes a sample of a job's sources: what they yield, by the size of their frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from bitmill.pipeline.cpu_count import available_cpus
from bitmill.pipeline.decode.pixels.frame_sizes import Buckets, FrameSizes
from bitmill.pipeline.planning.estimate_job import Stratum, Yield, spread, strata, whole, yields_of
from bitmill.pipeline.planning.probe_sources import Found, probe_sources
from bitmill.pipeline.span_bytes import shares, together
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.models.geometry import Geometry, SizePx
from bitmill.schemas.reports.estimate_report import Quantity, SizeEstimate
from bitmill.schemas.requests.job import JobSpec

ROW_BYTES = 50
"""Bytes per clip next to its codes, and per source in plan and ledger together, names included."""

_NONE = Yield()


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The sample of a job, and what follows from it."""

    parts: tuple[Stratum, ...]
    unreadable: int
    geometry: Geometry
    sizes: FrameSizes

    @property
    def sampled(self) -> int:
        """The number of sources in the sample."""
        return sum(len(part.sampled) for part in self.parts)

    def total(self, of: Callable[[Yield], int]) -> Quantity:
        """Returns a total of all sizes."""
        return whole(self.parts, lambda yields: sum(map(of, yields.values())))

    def tokens(self) -> Quantity:
        """Returns the number of tokens."""
        return whole(
            self.parts,
            lambda yields: sum(one.rows * self._tokens_of_row(size) for size, one in yields.items()),
        )

    def frames_as_of(self, size: SizePx) -> Quantity:
        """Returns the number of frames of ``size`` that have as many pixels as the job's."""
        return whole(
            self.parts,
            lambda yields: sum(one.frames * prod(own) / prod(size) for own, one in yields.items()),
        )

    def cropped(self) -> float | None:
        """Returns the share of the pixels of scaled frames that is cropped away; None without frames."""
        return _cropped(self.frames_as_of((1, 1)), self.total(_scaled_px))

    def by_size(self) -> tuple[SizeEstimate, ...]:
        """Returns what there is of each size, as ``Estimate.sizes``."""
        found = {size for part in self.parts for _, yields in part.sampled for size in yields}
        if isinstance(self.sizes, Buckets):
            return tuple(map(self._of_size, self.sizes.sizes))
        return tuple(sorted(map(self._of_size, sorted(found)), key=lambda size: -size.frames.value))

    def _of_size(self, size: SizePx) -> SizeEstimate:
        def total(of: Callable[[Yield], int]) -> Quantity:
            return whole(self.parts, lambda yields: of(yields.get(size, _NONE)))

        items, clips, frames = total(_items), total(_clips), total(_frames)
        tokens = total(_rows).times(self._tokens_of_row(size))
        rows = items.plus(clips).times(ROW_BYTES)
        cropped = _cropped(frames.times(prod(size)), total(_scaled_px))
        return SizeEstimate(
            height_px=size[0],
            width_px=size[1],
            items=items,
            clips=clips,
            frames=frames,
            tokens=tokens,
            stored_bytes=tokens.times(self.geometry.code.bits_per_token / 8).plus(rows),
            cropped=cropped,
        )

    def _tokens_of_row(self, size: SizePx) -> int:
        return self.geometry.num_tokens((1, *self.geometry.grid(*size)))


def _cropped(kept_px: Quantity, scaled_px: Quantity) -> float | None:
    return 1 - kept_px.value / scaled_px.value if scaled_px.value else None


def _items(one: Yield) -> int:
    return one.items


def _clips(one: Yield) -> int:
    return one.clips


def _frames(one: Yield) -> int:
    return one.frames


def _rows(one: Yield) -> int:
    return one.rows


def _scaled_px(one: Yield) -> int:
    return one.scaled_px


def survey_sources(
    sources: Sequence[PlannedSource],
    job: JobSpec,
    geometry: Geometry,
    sizes: FrameSizes,
    *,
    sample: int,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> Survey:
    """Probe up to ``sample`` images and as many other sources; ``on_progress`` gets the number probed.

    Raises InfrastructureError if this machine or the store fails.
    """
    parts: list[Stratum] = []
    done = unreadable = 0
    for by_bytes, group in zip((False, True), strata(sources), strict=True):
        chosen = spread(group, sample)
        objects = {source.object: source for source in chosen}
        found: dict[object, Found] = {}
        workers = max(1, min(available_cpus(), len(objects)))
        for source, facts in probe_sources(objects.values(), job.limits, workers=workers):
            found[source.object] = facts
            done += 1
            on_progress(done)
        bytes_of = {
            source.place: share_bytes
            for run in together(group)
            for source, share_bytes in zip(run, shares(run), strict=True)
        }
        sampled = tuple(
            (
                bytes_of[source.place],
                yields_of(source, found[source.object], job, geometry, sizes),
            )
            for source in chosen
        )
        unreadable += sum(found[source.object] is None for source in chosen)
        parts.append(
            Stratum(
                num_sources=len(group), size_bytes=sum(bytes_of.values()), sampled=sampled, by_bytes=by_bytes
            )
        )
    return Survey(parts=tuple(parts), unreadable=unreadable, geometry=geometry, sizes=sizes)
