"""Probes many sources in parallel before decoding, in child processes that may crash or hang."""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from PIL import Image

from bitmill.pipeline.archive.tar_events import archive_events
from bitmill.pipeline.archive.tar_index import index_tar
from bitmill.pipeline.decode.image.images import (
    is_animation,
    open_image,
    read_animation,
    upright_height_width,
)
from bitmill.pipeline.decode.video.probe import probe
from bitmill.pipeline.isolation.child_process import ChildDiedError, ChildProcess, serve
from bitmill.pipeline.isolation.memory_limit import memory_limit
from bitmill.pipeline.items import ItemEnd, ItemEvent, Media, MediaFacts
from bitmill.pipeline.storage import ObjectInfo, Room, room_for, stage
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import BadItemError, BitmillError, InfrastructureError
from bitmill.schemas.requests.job import LimitsSpec

_START_S = 60.0
"""Timeout of starting a child, in addition to the job's time limit per item."""

_SLOWEST_TRANSFER_BYTES_PER_S = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ProbedArchive:
    """Probe results of a tar's readable members."""

    members: "tuple[Probed, ...]"


@dataclass(frozen=True, kw_only=True)
class Probed:
    """Probe result of a source; a video's is from its packets, without decoding."""

    media: Media
    num_frames: int
    start_ns: int = 0
    end_ns: int = 0
    """First and last presentation time; equal for an image."""
    orderly: bool = True
    """Whether every packet has a timestamp."""
    height: int = 1
    width: int = 1
    aspect: Fraction = Fraction(1)
    """Of the first frame after rotation, in pixels, and of a pixel."""


Found = Probed | ProbedArchive | None
"""Result of probing a source; None if it cannot be read, or crashed or hung its child."""


def probe_sources(
    sources: Iterable[PlannedSource], limits: LimitsSpec, *, workers: int
) -> Generator[tuple[PlannedSource, Found]]:
    """Yield each source with its probe result, in order.

    Remote sources are copied first. Raises InfrastructureError if this machine or the store fails.
    """
    probers = [_Prober(limits) for _ in range(workers)]
    idle: SimpleQueue[_Prober] = SimpleQueue()
    for prober in probers:
        idle.put(prober)

    def ask(source: PlannedSource) -> tuple[PlannedSource, Found]:
        prober = idle.get()
        try:
            return source, prober.ask(source)
        finally:
            idle.put(prober)

    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(ask, sources)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # Killing the child releases a thread that still waits for it.
        for prober in probers:
            prober.kill()
        pool.shutdown()
        for prober in probers:
            prober.end()


class _Prober:
    """Probes one source at a time in a child process, which starts on demand and again after its death."""

    def __init__(self, limits: LimitsSpec) -> None:
        self._limits = limits
        self._child: ChildProcess | None = None

    def ask(self, source: PlannedSource) -> Found:
        self._child = child = self._child or ChildProcess(_answer, self._limits)
        transfer_s = source.size_bytes / _SLOWEST_TRANSFER_BYTES_PER_S
        # Copied here, not in the child, whose time is limited.
        with room_for(ObjectInfo.of(source), limit_bytes=self._limits.staging_bytes) as room:
            try:
                child.send((source, room))
                return child.receive(_START_S + self._limits.item_timeout_s + transfer_s)
            except (ChildDiedError, TimeoutError):
                self.end()
                return None
            except BitmillError as error:
                raise InfrastructureError(str(error)) from error

    def kill(self) -> None:
        """Kill the process; a caller that waits for its reply gets None."""
        if (child := self._child) is not None:
            child.kill()

    def end(self) -> None:
        """Kill the process and free its resources."""
        self.kill()
        if self._child is not None:
            self._child.end()
            self._child = None


def _answer(pipe: "Connection[Any, Any]", limits: LimitsSpec) -> None:
    """The child's main loop: reply to each source until the pipe closes."""
    serve(pipe, lambda asked: pipe.send(_look(asked[0], limits, asked[1])))


def _look(source: PlannedSource, limits: LimitsSpec, room: Room | None) -> Found:
    try:
        with memory_limit(limits.item_memory_bytes), stage(ObjectInfo.of(source), room=room) as staged:
            if source.is_archive:
                return look_into(staged.path, source, limits)
            return look_at(staged.path, limits)
    except (BadItemError, MemoryError):
        return None
    except BitmillError:
        raise
    except Exception:  # noqa: BLE001 - untrusted bytes; decoding reports what is wrong with them
        return None


def look_at(path: str, limits: LimitsSpec) -> Probed:
    """Probe a local file. Raises BadItemError; may crash or hang on hostile bytes."""
    image = open_image(path, max_pixels=limits.max_pixels)
    if image is not None:
        with image:
            if not is_animation(image):
                height, width = upright_height_width(image)
                return Probed(media="image", num_frames=1, height=height, width=width)
            return _played(image, path)
    found = probe(path, max_pixels=limits.max_pixels)
    height, width = found.shown_height_width
    return Probed(
        media="video",
        num_frames=found.num_shown,
        start_ns=found.start_ns or 0,
        end_ns=found.end_ns or 0,
        orderly=not found.num_missing_pts and found.start_ns is not None,
        height=height,
        width=width,
        aspect=found.shown_aspect,
    )


def look_into(path: str, source: PlannedSource, limits: LimitsSpec) -> ProbedArchive:
    """Probe the members of a local tar. Raises BadItemError if it has none; may crash or hang."""
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
    """Probe an animation up to the first damage; its times are known only by reading its frames."""
    num_frames = end_ns = 0
    shape = 1, 1
    try:
        for picture in read_animation(image, path):
            shape = shape if num_frames else picture.frame.pixels_HWC.shape
            num_frames, end_ns = num_frames + 1, picture.pts_ns + (picture.duration_ns or 0)
    except BadItemError:
        if not num_frames:
            raise
    return Probed(media="animation", num_frames=num_frames, end_ns=end_ns, height=shape[0], width=shape[1])
