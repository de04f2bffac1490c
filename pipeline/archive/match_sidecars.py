"""Decides which members of a tar are items, and which sidecars belong to them; pure logic."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from bitmill.pipeline.archive.tar_index import Member
from bitmill.pipeline.sources.listing import is_media_name


class Closeness(IntEnum):
    """How a sidecar's name relates to its media's; for equal fields, the closer sidecar counts."""

    SHARED = 0
    """``a.json`` of ``a.left.jpg`` and ``a.right.jpg``."""
    SAME = 1
    """``a.json`` of ``a.jpg``."""
    LONGER = 2
    """``a.caption.txt`` of ``a.jpg``."""


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """A member that describes an item."""

    member: Member
    ending: str
    """The part of its name after the media's stem: ``json``, ``caption.txt``; lower case."""
    closeness: Closeness
    is_repeated: bool = False
    """True if an earlier member has the same name."""


@dataclass(frozen=True, kw_only=True)
class ArchiveItem:
    """A media member with its sidecars, in the tar's order."""

    member: Member
    sidecars: tuple[Sidecar, ...]
    is_repeated: bool
    """True if an earlier member has the same name; it then has no sidecars."""


@dataclass(frozen=True)
class _Name:
    """A member's name, split into folder, stem up to the last dot, and suffix."""

    folder: str
    stem: str
    suffix: str

    @classmethod
    def of(cls, name: str) -> "_Name":
        folder, _, base = name.removeprefix("./").rpartition("/")
        stem, _, suffix = base.rpartition(".")
        return cls(folder, stem, suffix.lower())

    @property
    def place(self) -> tuple[str, str]:
        return self.folder, self.stem


def arrange(members: Sequence[Member]) -> list[ArchiveItem]:
    """List every media member once, in order, with all its sidecars from anywhere in the tar.

    A sidecar belongs to the media with the same name except for the last suffix; if there are none, to those
    with the longest name that the sidecar's name extends after a dot; if there are none, to all whose names
    extend its own after a dot. Folders must match. Members without a suffix, and sidecars without media, are
    ignored.
    """
    media = [member for member in members if is_media_name(member.name)]
    first = _first_of_each_name(media)
    owners = _Owners([member for number, member in enumerate(media) if number in first])
    sidecars: dict[str, list[Sidecar]] = defaultdict(list)
    seen: set[str] = set()
    for member in members:
        if is_media_name(member.name):
            continue
        for owner, sidecar in owners.of(member):
            sidecars[owner.name].append(replace(sidecar, is_repeated=member.name in seen))
        seen.add(member.name)
    return [
        ArchiveItem(
            member=member,
            sidecars=tuple(sidecars[member.name]) if number in first else (),
            is_repeated=number not in first,
        )
        for number, member in enumerate(media)
    ]


def _first_of_each_name(media: Sequence[Member]) -> set[int]:
    numbers: dict[str, int] = {}
    for number, member in enumerate(media):
        numbers.setdefault(member.name, number)
    return set(numbers.values())


class _Owners:
    """Media by their stems, and by the prefixes of these."""

    def __init__(self, media: Sequence[Member]) -> None:
        self._same: dict[tuple[str, str], list[Member]] = defaultdict(list)
        self._continuing: dict[tuple[str, str], list[Member]] = defaultdict(list)
        for member in media:
            name = _Name.of(member.name)
            self._same[name.place].append(member)
            for beginning in _beginnings(name.stem):
                self._continuing[name.folder, beginning].append(member)

    def of(self, member: Member) -> Iterator[tuple[Member, Sidecar]]:
        """Yield the media that a sidecar belongs to."""
        name = _Name.of(member.name)
        if not name.stem or not name.suffix:
            return
        found, closeness, ending = self._same.get(name.place), Closeness.SAME, name.suffix
        if not found:
            found, closeness = self._continuing.get(name.place), Closeness.SHARED
            for beginning in _beginnings(name.stem):
                if longer := self._same.get((name.folder, beginning)):
                    found, closeness = longer, Closeness.LONGER
                    ending = f"{name.stem[len(beginning) + 1 :].lower()}.{name.suffix}"
                    break
        for owner in found or ():
            yield owner, Sidecar(member=member, ending=ending, closeness=closeness)


def _beginnings(stem: str) -> Iterator[str]:
    """Yield the part of a stem before each dot, longest first; never an empty one."""
    at = stem.rfind(".")
    while at > 0:
        yield stem[:at]
        at = stem.rfind(".", 0, at)
