"""From a planned source to its events: staged, decoded, every fault of the bytes turned into an end."""

import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from typing import Literal

from bitmill.pipeline.archive.tar_events import archive_events, whole_archive
from bitmill.pipeline.archive.tar_index import index_tar
from bitmill.pipeline.decode.item import decode_item
from bitmill.pipeline.items import ItemEnd, ItemEvent, MediaFacts, SourceEvent
from bitmill.pipeline.storage import ObjectInfo, Room, StagedObject, room_for, stage
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import JobSpec, LimitsSpec, PixelRule, SamplingSpec

_TOO_MUCH_MEMORY = "Reading and decoding it took more memory than the job allows."


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """What decoding an item of a job needs to know of it."""

    sampling: SamplingSpec
    limits: LimitsSpec
    size_px: int
    pixel_rule: PixelRule
    decoder: Literal["auto", "pyav", "decord"] = "auto"

    @classmethod
    def of(cls, job: JobSpec, size_px: int, *, pixel_rule: PixelRule) -> "DecodeSettings":
        """The settings of a job whose frame size and pixel rule are known."""
        return cls(
            sampling=job.sampling,
            limits=job.limits,
            size_px=size_px,
            pixel_rule=pixel_rule,
            decoder=job.compute.decoder,
        )


@dataclass(frozen=True)
class Staged:
    """The mark between reading a source and decoding it: what follows is the decoder's time."""


def source_room(source: PlannedSource, settings: DecodeSettings) -> AbstractContextManager[Room | None]:
    """Room for a copy of the source, if it needs one, for the length of the block; may be waited for long."""
    return room_for(_identity(source), limit_bytes=settings.limits.staging_bytes)


def source_events(
    source: PlannedSource,
    settings: DecodeSettings,
    *,
    skip_items: int = 0,
    instead: ItemEnd | None = None,
    room: Room | None = None,
) -> Iterator[SourceEvent | Staged]:
    """A mark once the source is at hand, its clips, and its end as the very last thing.

    The end is held back until everything is closed: a crash on closing is then the item's, and a source that
    changed while it was read is told. Of an archive the first ``skip_items`` items are left out, and the next
    one is given the end ``instead`` where there is one. Each end tells how long this side took; reading a
    tar counts for its first item. A copy lies in ``room``, from ``source_room``, or in one that is waited
    for here. Meant for a process that may be killed, since the bytes are foreign.
    """
    if source.is_archive:
        events = _archive_events(source, settings, skip_items, instead, room)
    else:
        events = _plain_events(source, settings, room)
    return _timed(events)


def _timed(events: Generator[SourceEvent | Staged]) -> Iterator[SourceEvent | Staged]:
    """The same events, their ends with times: not those in which an event waits to be taken."""
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
    return stage(_identity(source), room=room, limit_bytes=settings.limits.staging_bytes)


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
        # Of the whole tar: what single items get wrong has become their ends.
        yield from whole_archive(source, ItemEnd.unread(error.reason, error.detail))
    except MemoryError:
        yield from whole_archive(source, ItemEnd.unread(Reason.OUT_OF_MEMORY, _TOO_MUCH_MEMORY))


def _identity(source: PlannedSource) -> ObjectInfo:
    return ObjectInfo(uri=source.uri, size_bytes=source.size_bytes, version=source.version)


def _decoded(path: str, source: PlannedSource, settings: DecodeSettings) -> Iterator[ItemEvent]:
    return decode_item(
        path,
        span_ns=source.span_ns,
        sampling=settings.sampling,
        size_px=settings.size_px,
        limits=settings.limits,
        pixel_rule=settings.pixel_rule,
        prefer=settings.decoder,
    )
