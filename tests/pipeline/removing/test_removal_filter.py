"""What was taken down stays out of shards in the making: whole members, single clips, and nothing else."""

from collections.abc import Iterator

from bitmill.pipeline.items import DecodedClip, ItemEnd, ItemStart, SourceEvent
from bitmill.pipeline.removing.removal_filter import Takedown, withheld
from bitmill.schemas.dataset.plan_schema import PlannedSource
from bitmill.schemas.ids import clip_id
from bitmill.schemas.outcomes import Reason
from tests.support.fakes import make_item, make_job

TAR = PlannedSource(uri="/media/a.tar", size_bytes=9, version="v")
RULE = make_job().sampling.rule()


def events() -> Iterator[SourceEvent]:
    """A tar of two good members, a bad one, and a missing rest."""
    for number, (key, lengths, reason) in enumerate(
        [("a", [2, 3], None), ("b", [4, 1], None), ("c", [], Reason.CORRUPT), (None, [], Reason.TRUNCATED)]
    ):
        yield ItemStart(key=key, size_bytes=3)
        yield from make_item(number, lengths, reason=reason)


def told(takedown: Takedown) -> list[tuple[str | None, list[int], Reason | None]]:
    """Each item's key, its clips' frames and its reason."""
    items: list[tuple[str | None, list[int], Reason | None]] = []
    key, lengths = None, list[int]()
    for event in withheld(TAR, events(), takedown, RULE):
        if isinstance(event, ItemStart):
            key, lengths = event.key, []
        elif isinstance(event, DecodedClip):
            lengths.append(len(event.frames_THWC))
        elif isinstance(event, ItemEnd):
            items.append((key, lengths, event.reason))
    return items


ALL = [("a", [2, 3], None), ("b", [4, 1], None), ("c", [], Reason.CORRUPT), (None, [], Reason.TRUNCATED)]


def test_nothing_asked_for_changes_nothing():
    assert told(Takedown()) == ALL
    assert told(Takedown(sources=frozenset({"/media/b.tar"}), clips=frozenset({"0" * 32}))) == ALL


def test_members_go_by_their_keys():
    for key in ("b", "c"):
        expected = [(name, [], Reason.REMOVED) if name == key else rest for rest in ALL for name in rest[:1]]
        assert told(Takedown(items=frozenset({(TAR.uri, key)}))) == expected


def test_single_clips_go_by_their_ids():
    first = clip_id(TAR.uri, "b", (None, None), 0, RULE)
    second = clip_id(TAR.uri, "b", (None, None), 4 * 125_000_000, RULE)
    assert told(Takedown(clips=frozenset({first}))) == [ALL[0], ("b", [1], Reason.REMOVED), *ALL[2:]]
    assert told(Takedown(clips=frozenset({first, second})))[1] == ("b", [], Reason.REMOVED)


def test_a_whole_source_gives_nothing():
    assert told(Takedown(sources=frozenset({TAR.uri}))) == [(key, [], Reason.REMOVED) for key, _, _ in ALL]
