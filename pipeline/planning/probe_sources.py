"""A look at many sources at once, before any is decoded: each in a child process that may crash or hang."""

import multiprocessing
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any

from PIL import Image

from bitmill.pipeline.archive.tar_events import archive_events
from bitmill.pipeline.archive.tar_index import index_tar
from bitmill.pipeline.decode.image.images import is_animation, open_image, read_animation
from bitmill.pipeline.decode.video.probe import probe
from bitmill.pipeline.isolation.memory_limit import memory_limit
from bitmill.pipeline.items import ItemEnd, ItemEvent, Media, MediaFacts
from bitmill.pipeline.storage import ObjectInfo, Room, room_for, stage
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import BadItemError, BitmillError, InfrastructureError
from bitmill.schemas.requests.job import LimitsSpec

_START_S = 60.0
"""A child may take so long to start, beside the time that the job gives an item."""

_SLOWEST_TRANSFER_BYTES_PER_S = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ProbedArchive:
    """What a tar's members hold, as far as they can be read."""

    members: "tuple[Probed, ...]"


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What a source holds: of a video as its packets say, without decoding these."""

    media: Media
    num_frames: int
    start_ns: int = 0
    end_ns: int = 0
    """First and last presented instant; equal for an image."""
    orderly: bool = True
    """Whether every packet has a time."""


Found = Probed | ProbedArchive | None
"""What a look at a source gave; null where it cannot be read, or took its child along."""


def probe_sources(
    sources: Iterable[PlannedSource], limits: LimitsSpec, *, workers: int
) -> Generator[tuple[PlannedSource, Found]]:
    """Each source with what was found, in order.

    A source of a remote store is copied to be looked at. Raises InfrastructureError where this machine or
    the store gives out.
    """
    children = [_Child(limits) for _ in range(workers)]
    idle: SimpleQueue[_Child] = SimpleQueue()
    for child in children:
        idle.put(child)

    def ask(source: PlannedSource) -> tuple[PlannedSource, Found]:
        child = idle.get()
        try:
            return source, child.ask(source)
        finally:
            idle.put(child)

    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(ask, sources)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # A thread that still waits for its child is let go by the child's end.
        for child in children:
            child.kill()
        pool.shutdown()
        for child in children:
            child.end()


@dataclass(frozen=True)
class _Running:
    process: BaseProcess
    connection: "Connection[Any, Any]"


class _Child:
    """One process that looks at one source at a time; started when needed, and again after its death."""

    def __init__(self, limits: LimitsSpec) -> None:
        self._limits = limits
        # A forked child would share locks of threads that it does not have.
        self._spawn = multiprocessing.get_context("spawn")
        self._running: _Running | None = None

    def ask(self, source: PlannedSource) -> Found:
        running = self._running or self._start()
        # Here, not in the child, whose time counts.
        with room_for(_identity(source), limit_bytes=self._limits.staging_bytes) as room:
            return self._answer_of(running, source, room)

    def _answer_of(self, running: "_Running", source: PlannedSource, room: Room | None) -> Found:
        transfer_s = source.size_bytes / _SLOWEST_TRANSFER_BYTES_PER_S
        try:
            running.connection.send((source, room))
            if running.connection.poll(_START_S + self._limits.item_timeout_s + transfer_s):
                answer: Any = running.connection.recv()
                if isinstance(answer, BitmillError):
                    raise InfrastructureError(str(answer)) from answer
                return answer
        except (EOFError, OSError):
            pass
        self.end()
        return None

    def kill(self) -> None:
        """Kill the process, whatever it does; who waits for its answer gets none."""
        if self._running is not None:
            self._running.process.kill()

    def end(self) -> None:
        """Kill the process and free what belongs to it."""
        if self._running is None:
            return
        running, self._running = self._running, None
        running.process.kill()
        running.process.join()
        running.connection.close()

    def _start(self) -> _Running:
        ours, theirs = self._spawn.Pipe()
        process = self._spawn.Process(target=_answer, args=(theirs, self._limits), daemon=True)
        process.start()
        theirs.close()
        self._running = _Running(process, ours)
        return self._running


def _answer(connection: "Connection[Any, Any]", limits: LimitsSpec) -> None:
    """A child's life: an answer for each source, until nobody asks any more."""
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            source, room = connection.recv()
            connection.send(_look(source, limits, room))


def _identity(source: PlannedSource) -> ObjectInfo:
    return ObjectInfo(uri=source.uri, size_bytes=source.size_bytes, version=source.version)


def _look(source: PlannedSource, limits: LimitsSpec, room: Room | None) -> Found | BitmillError:
    try:
        with memory_limit(limits.item_memory_bytes), stage(_identity(source), room=room) as staged:
            if source.is_archive:
                return look_into(staged.path, source, limits)
            return look_at(staged.path, limits)
    except (BadItemError, MemoryError):
        return None
    except BitmillError as error:
        return error
    except Exception:  # noqa: BLE001 - foreign bytes; what is wrong with them is for decoding to say
        return None


def look_at(path: str, limits: LimitsSpec) -> Probed:
    """What a local file holds. Raises BadItemError; may crash or hang on hostile bytes."""
    image = open_image(path, max_pixels=limits.max_pixels)
    if image is not None:
        with image:
            if not is_animation(image):
                return Probed(media="image", num_frames=1)
            return _played(image, path)
    found = probe(path, max_pixels=limits.max_pixels)
    return Probed(
        media="video",
        num_frames=found.num_shown,
        start_ns=found.start_ns or 0,
        end_ns=found.end_ns or 0,
        orderly=not found.num_missing_pts and found.start_ns is not None,
    )


def look_into(path: str, source: PlannedSource, limits: LimitsSpec) -> ProbedArchive:
    """What the members of a local tar hold. Raises BadItemError where it has none; may crash or hang."""
    members: list[Probed] = []

    def look(member_path: str) -> Iterator[ItemEvent]:
        try:
            members.append(look_at(member_path, limits))
            yield ItemEnd(facts=MediaFacts())
        except BadItemError as error:
            yield ItemEnd.unread(error.reason, error.detail)

    for _ in archive_events(path, index_tar(path), source, look):
        pass
    return ProbedArchive(members=tuple(members))


def _played(image: Image.Image, path: str) -> Probed:
    """An animation's pictures, up to the first damage; only reading them tells their times."""
    num_frames = end_ns = 0
    try:
        for picture in read_animation(image, path):
            num_frames, end_ns = num_frames + 1, picture.pts_ns + (picture.duration_ns or 0)
    except BadItemError:
        if not num_frames:
            raise
    return Probed(media="animation", num_frames=num_frames, end_ns=end_ns)
