"""What is told of a shard while it is tokenized; several reports may be summed to one."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar

from bitmill.schemas.dataset.card import Totals
from bitmill.schemas.outcomes import Outcome, Reason

OtherT = TypeVar("OtherT")


@dataclass(frozen=True, kw_only=True)
class EndedItem:
    """The end of one item, reported before its ledger row is written."""

    source: str
    outcome: Outcome
    reason: Reason | None
    detail: str | None
    key: str | None = None
    place: int = 0
    """Of its source in the shard."""
    size_bytes: int = 0
    """Of the source; of a tar's item its own."""


@dataclass(frozen=True, kw_only=True)
class ShardProgress:
    """Progress since the last report."""

    shard_id: str
    clips: int = 0
    frames: int = 0
    tokens: int = 0
    items: int = 0
    """Ended: their clips have all been read."""
    not_ok: int = 0
    """Of these items."""
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    places: tuple[int, ...] = ()
    """Of these items' sources in the shard, without tars."""
    member_bytes: int = 0
    """Of these items, those in tars."""
    failed: tuple[EndedItem, ...] = ()
    """Those of these items that have no clip."""
    added_items: int = 0
    """Items of archives beyond the first, which the plan does not count."""
    seconds: Mapping[str, float] = field(default_factory=dict[str, float], compare=False)
    """By stage."""

    @classmethod
    def of_item(
        cls,
        shard_id: str,
        item: EndedItem,
        *,
        added_items: int = 0,
        seconds: Mapping[str, float] | None = None,
    ) -> Self:
        """Returns the report of an item's end."""
        return cls(
            shard_id=shard_id,
            items=1,
            not_ok=int(item.outcome is not Outcome.OK),
            reasons={} if item.reason is None else {item.reason.value: 1},
            places=(item.place,) if item.key is None else (),
            member_bytes=0 if item.key is None else item.size_bytes,
            failed=(item,) if item.outcome is Outcome.FAILED else (),
            added_items=added_items,
            seconds=seconds or {},
        )

    @classmethod
    def sum(cls, parts: "Sequence[ShardProgress]") -> "ShardProgress":
        """Returns one report in place of several of the same shard, at least one."""
        if len(parts) == 1:
            return parts[0]
        reasons, seconds = Counter[str](), dict[str, float]()
        for part in parts:
            reasons.update(part.reasons)
            add_seconds(seconds, part.seconds)
        return cls(
            shard_id=parts[0].shard_id,
            **{name: sum(getattr(part, name) for part in parts) for name in _COUNTS},
            reasons=dict(reasons),
            places=tuple(place for part in parts for place in part.places),
            failed=tuple(item for part in parts for item in part.failed),
            seconds=seconds,
        )


_COUNTS = ("clips", "frames", "tokens", "items", "not_ok", "member_bytes", "added_items")


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """A committed shard: its totals, and seconds by stage (for display, never stored in the dataset)."""

    shard_id: str
    totals: Totals
    seconds: dict[str, float]


def add_seconds(seconds: dict[str, float], more: Mapping[str, float]) -> None:
    """Add one sum by stage to another."""
    for stage, spent in more.items():
        seconds[stage] = seconds.get(stage, 0.0) + spent


def fewer_reports(
    events: Iterable[ShardProgress | OtherT], every_s: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[ShardProgress | OtherT]:
    """Sum a shard's progress so that at most one report is yielded in ``every_s``, and before other events.

    A report that comes after a pause is yielded at once. Nothing is lost, but for what an error cuts off.
    """
    held: list[ShardProgress] = []
    told = -every_s
    for event in events:
        if not isinstance(event, ShardProgress):
            if held:
                yield ShardProgress.sum(held)
                held = []
            yield event
            continue
        held.append(event)
        if clock() - told >= every_s:
            yield ShardProgress.sum(held)
            held, told = [], clock()
    if held:
        yield ShardProgress.sum(held)
