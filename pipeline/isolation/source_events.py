"""Decodes a planned source in this process: copies it, decodes it, turns every failure into an end event."""

import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from typing import Literal

from bitmill.pipeline.archive.tar_events import archive_events, whole_archive
from bitmill.pipeline.archive.tar_index import index_tar
from bitmill.pipeline.decode.pixels.frame_sizes import FrameSizes
from bitmill.pipeline.items import ItemEnd, ItemEvent, MediaFacts, SourceEvent
from bitmill.pipeline.storage import ObjectInfo, Room, StagedObject, room_for, stage
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.models.geometry import Geometry
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.frames import PixelRule
from bitmill.schemas.requests.job import JobSpec, LimitsSpec, SamplingSpec


def make_ready() -> None:
    """Import the decoders and load or compile their code, so that the first item takes no longer than others.

    Who only sends decoding to other processes imports this module without them.
    """
    from bitmill.pipeline.decode import decode_media
    from bitmill.pipeline.decode.pixels import planes

    _ = decode_media
    planes.make_ready()


_TOO_MUCH_MEMORY = "Reading and decoding it took more memory than the job allows."


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """The settings of a job that decoding an item needs."""

    sampling: SamplingSpec
    limits: LimitsSpec
    sizes: FrameSizes
    pixel_rule: PixelRule
    decoder: Literal["auto", "pyav", "decord"] = "auto"
    drop_to: Geometry | None = None
    """With ``sampling.tail`` drop: the geometry whose legal lengths clips are cut to."""

    @classmethod
    def of(
        cls, job: JobSpec, sizes: FrameSizes, *, pixel_rule: PixelRule, geometry: Geometry | None = None
    ) -> "DecodeSettings":
        """Returns the settings of a job with these frame sizes, pixel rule and tokenizer."""
        return cls(
            sampling=job.sampling,
            limits=job.limits,
            sizes=sizes,
            pixel_rule=pixel_rule,
            decoder=job.compute.decoder,
            drop_to=geometry if job.sampling.tail == "drop" else None,
        )


@dataclass(frozen=True)
class Staged:
    """Marks the end of reading a source: the time after it counts as decoding."""


def source_room(source: PlannedSource, settings: DecodeSettings) -> AbstractContextManager[Room | None]:
    """Reserves disk space for a copy of the source, if it needs one, within the block; may wait long."""
    return room_for(ObjectInfo.of(source), limit_bytes=settings.limits.staging_bytes)


def source_events(
    source: PlannedSource,
    settings: DecodeSettings,
    *,
    skip_items: int = 0,
    instead: ItemEnd | None = None,
    room: Room | None = None,
) -> Iterator[SourceEvent | Staged]:
    """Yields ``Staged`` once the source is local, its clips, and its end event last.

    The end is yielded after everything is closed: a crash while closing then counts for the item, and a
    source that changed while it was read is reported. For an archive, skips the first ``skip_items`` items
    and ends the next one with ``instead``, if given. Each end contains the seconds spent here; reading a tar
    counts for its first item. A copy uses ``room``, from ``source_room``, or else space reserved here.
    Run it in a process that may be killed, since the bytes are untrusted.
    """
    if source.is_archive:
        events = _archive_events(source, settings, skip_items, instead, room)
    else:
        events = _plain_events(source, settings, room)
    return _timed(events)


def _timed(events: Generator[SourceEvent | Staged]) -> Iterator[SourceEvent | Staged]:
    """Yields the same events, with times in the ends; the time that the consumer takes is excluded."""
    spent = {"read": 0.0, "decode": 0.0}
    stage_now = "read"
    with closing(events):
        while True:
            started = time.perf_counter()
            event = next(events, None)
            spent[stage_now] += time.perf_counter() - started
            if event is None:
                return
            if isinstance(event, Staged):
                stage_now = "decode"
            elif isinstance(event, ItemEnd):
                event = replace(event, read_s=spent["read"], decode_s=spent["decode"])
                spent = dict.fromkeys(spent, 0.0)
            yield event


def _staged(
    source: PlannedSource, settings: DecodeSettings, room: Room | None
) -> AbstractContextManager[StagedObject]:
    return stage(ObjectInfo.of(source), room=room, limit_bytes=settings.limits.staging_bytes)


def _plain_events(
    source: PlannedSource, settings: DecodeSettings, room: Room | None
) -> Generator[ItemEvent | Staged]:
    end: ItemEnd | None = None
    try:
        with _staged(source, settings, room) as staged:
            yield Staged()
            for event in _decoded(staged.path, source, settings):
                if isinstance(event, ItemEnd):
                    end = event
                else:
                    yield event
                staged.moved()
    except BadItemError as error:
        facts = end.facts if end is not None else MediaFacts()
        end = ItemEnd(facts=facts, reason=error.reason, detail=error.detail)
    except MemoryError:
        end = ItemEnd.unread(Reason.OUT_OF_MEMORY, _TOO_MUCH_MEMORY)
    if end is None:
        raise ValueError("decoding stopped without an end")
    yield end


def _archive_events(
    source: PlannedSource,
    settings: DecodeSettings,
    skip_items: int,
    instead: ItemEnd | None,
    room: Room | None,
) -> Generator[SourceEvent | Staged]:
    try:
        with _staged(source, settings, room) as staged:
            index = index_tar(staged.path)
            yield Staged()
            for event in archive_events(
                staged.path,
                index,
                source,
                lambda path: _decoded(path, source, settings),
                skip_items=skip_items,
                instead=instead,
            ):
                yield event
                staged.moved()
    except BadItemError as error:
        # The whole tar failed; failures of single items are already their ends.
        yield from whole_archive(source, ItemEnd.unread(error.reason, error.detail))
    except MemoryError:
        yield from whole_archive(source, ItemEnd.unread(Reason.OUT_OF_MEMORY, _TOO_MUCH_MEMORY))


def _decoded(path: str, source: PlannedSource, settings: DecodeSettings) -> Iterator[ItemEvent]:
    from bitmill.pipeline.decode.decode_media import decode_item

    return decode_item(
        path,
        span_ns=source.span_ns,
        sampling=settings.sampling,
        sizes=settings.sizes,
        limits=settings.limits,
        pixel_rule=settings.pixel_rule,
        prefer=settings.decoder,
        drop_to=settings.drop_to,
    )
