"""Yields the events of a staged tar: unpacks each media member, decodes it, and records its outcome."""

import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from bitmill.pipeline.archive.match_sidecars import ArchiveItem, Sidecar, arrange
from bitmill.pipeline.archive.sidecars import item_metadata
from bitmill.pipeline.archive.tar_index import Member, TarIndex
from bitmill.pipeline.decode.library_faults import library_fault
from bitmill.pipeline.items import ItemEnd, ItemEvent, ItemStart, SourceEvent
from bitmill.pipeline.storage import full_disk_told, scratch_folder
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.errors import BadItemError
from bitmill.schemas.outcomes import Reason

_COPY_BYTES = 1 << 20

_OF_A_CUT = frozenset(
    {None, Reason.EMPTY_FILE, Reason.NOT_MEDIA, Reason.NO_VIDEO_STREAM, Reason.NO_FRAMES, Reason.CORRUPT}
    | {Reason.TRUNCATED, Reason.BAD_SIDECAR, Reason.DECODER_FAILED}
)
"""Outcomes that decoding may report for a member that is cut off."""

Decode = Callable[[str], Iterator[ItemEvent]]
"""Maps a local file to its clips and end."""


def archive_events(
    path: str,
    index: TarIndex,
    source: PlannedSource,
    decode: Decode,
    *,
    skip_items: int = 0,
    instead: ItemEnd | None = None,
) -> Iterator[SourceEvent]:
    """Yield every item of a tar: start, clips and end; skips the first ``skip_items`` without reading them.

    If ``instead`` is given, the next item is not decoded and ends with it.

    Items are in the order of their media members. A last item with key None follows if the tar contains no
    media, or if its rest is missing. Bad members never raise here; a full disk does.
    """
    items = arrange(index.members)
    with Path(path).open("rb") as tar, scratch_folder() as folder:
        reading = _Reading(tar, source, decode, folder)
        for number, item in enumerate(items):
            if number == skip_items and instead is not None:
                yield from reading.skipped(item, instead)
            elif number >= skip_items:
                yield from reading.events(item, number)
    fault = index.fault
    if not items and fault is None:
        fault = Reason.NOT_MEDIA, "No member of the tar is media by its name."
    if fault is not None and skip_items <= len(items):
        yield from whole_archive(source, ItemEnd.unread(*fault))


def whole_archive(source: PlannedSource, end: ItemEnd) -> Iterator[SourceEvent]:
    """The item that reports what is wrong with a whole archive."""
    yield ItemStart(key=None, size_bytes=source.size_bytes, metadata=source.metadata)
    yield end


class _Reading:
    """A tar open for reading its items one by one."""

    def __init__(self, tar: BinaryIO, source: PlannedSource, decode: Decode, folder: Path) -> None:
        self._tar = tar
        self._source = source
        self._decode = decode
        self._folder = folder

    def events(self, item: ArchiveItem, number: int) -> Iterator[SourceEvent]:
        """Yield start, clips and end of one item; the end after all files are closed."""
        metadata, sidecar_fault = self._metadata(item)
        member = item.member
        yield ItemStart(key=member.name, size_bytes=member.size_bytes, metadata=metadata)
        end: ItemEnd | None = None
        try:
            if item.is_repeated:
                detail = "An earlier member has the same name; rename one of them."
                raise BadItemError(Reason.DUPLICATE_KEY, detail)
            if member.fault is not None:
                raise BadItemError(*member.fault)
            with self._unpacked(member, number) as path:
                for event in self._decode(path):
                    if isinstance(event, ItemEnd):
                        end = event
                    else:
                        yield event
        except BadItemError as error:
            end = ItemEnd.unread(error.reason, error.detail)
        except MemoryError:
            end = ItemEnd.unread(Reason.OUT_OF_MEMORY, "Decoding it took more memory than the job allows.")
        if end is None:
            raise ValueError("decoding stopped without an end")
        yield _judged(end, member, sidecar_fault)

    def skipped(self, item: ArchiveItem, end: ItemEnd) -> Iterator[SourceEvent]:
        """Yield start and end of an item that must not be decoded."""
        metadata, _ = self._metadata(item)
        yield ItemStart(key=item.member.name, size_bytes=item.member.size_bytes, metadata=metadata)
        yield end

    def _metadata(self, item: ArchiveItem) -> tuple[str | None, str | None]:
        try:
            return item_metadata(self._source.metadata, item.sidecars, self._sidecar_bytes)
        except BadItemError as error:
            return self._source.metadata, f"The sidecars could not be read: {error.detail}"
        except MemoryError:
            return self._source.metadata, "The sidecars took more memory than the job allows."

    def _sidecar_bytes(self, sidecar: Sidecar) -> bytes:
        return b"".join(self._chunks(sidecar.member))

    @contextmanager
    def _unpacked(self, member: Member, number: int) -> Generator[str]:
        """A local file with the member's bytes, as far as they exist, for the duration of the block."""
        # The file has no name (it is unlinked), so that a decoder that dies leaves no bytes behind. The link
        # to it has the member's suffix, because some demuxers use it.
        path = self._folder / f"member-{number}.{member.name.rpartition('.')[2]}"
        with tempfile.TemporaryFile(dir=self._folder) as file:
            with full_disk_told(str(self._folder.parent)):
                for chunk in self._chunks(member):
                    file.write(chunk)
                file.flush()
            path.symlink_to(f"/proc/self/fd/{file.fileno()}")
            try:
                yield str(path)
            finally:
                path.unlink()

    def _chunks(self, member: Member) -> Iterator[bytes]:
        """Yield a member's bytes, as far as they exist. Raises BadItemError if reading fails."""
        at, end = member.offset, member.offset + member.present_bytes
        while at < end:
            try:
                self._tar.seek(at)
                chunk = self._tar.read(min(end - at, _COPY_BYTES))
            except OSError as error:
                raise BadItemError(Reason.READ_ERROR, library_fault(error, self._tar.name).detail) from error
            if not chunk:
                raise BadItemError(Reason.SOURCE_CHANGED, "The tar is shorter than when its index was read.")
            at += len(chunk)
            yield chunk


def _judged(end: ItemEnd, member: Member, sidecar_fault: str | None) -> ItemEnd:
    """The end, adjusted by damage of the surrounding archive."""
    if member.is_cut and end.reason in _OF_A_CUT:
        detail = f"The tar ends within it, after {member.present_bytes} of its {member.size_bytes} bytes."
        return replace(end, reason=Reason.TRUNCATED, detail=detail)
    if end.reason is None and sidecar_fault is not None:
        return replace(end, reason=Reason.BAD_SIDECAR, detail=sidecar_fault)
    return end
