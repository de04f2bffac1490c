"""What a dataset's plan lacks: sources that are new, and failed ones to be done again. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bitmill.pipeline.dataset.attempts import NewestAttempts
from bitmill.pipeline.dataset.ledger import LedgerRow
from bitmill.pipeline.planning.split_videos import split_uris
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource, SourcePlace
from bitmill.schemas.outcomes import Outcome, Reason


@dataclass(frozen=True, kw_only=True)
class Sifted:
    """Sources that were found, against those that are planned."""

    new: tuple[PlannedSource, ...]
    """Not planned yet, in the order in which they were found."""
    known: int
    """Planned as they are now."""
    changed: int
    """Planned with another size or version: their clips would carry the ids of clips that are there."""


def sift_sources(found: Iterable[PlannedSource], planned: Iterable[PlannedSource]) -> Sifted:
    """Tell new sources from known and changed ones; ``planned`` is in plan order, so the newest counts.

    A video that the plan cut by time is known as a whole.
    """
    newest: dict[SourcePlace, PlannedSource] = {}
    for source in planned:
        newest[source.place] = source
    in_spans = split_uris(newest.values())
    new: list[PlannedSource] = []
    known = changed = 0
    for source in found:
        same = [newest[source.place]] if source.place in newest else []
        if source.span_ns == (None, None):
            same = same or in_spans.get(source.uri, [])
        if not same:
            new.append(source)
        elif any((one.size_bytes, one.version) == (source.size_bytes, source.version) for one in same):
            known += 1
        else:
            changed += 1
    return Sifted(new=tuple(new), known=known, changed=changed)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Failed items, as far as they can be done again."""

    sources: tuple[PlannedSource, ...]
    """Of which no clip is there, in plan order, as they were planned."""
    members_left_out: int
    """Failed items of sources that gave clips of other items: doing these again would double the clips."""


def failed_sources(
    shard: PlannedShard, ledger: Sequence[LedgerRow], newest: NewestAttempts, reasons: frozenset[Reason]
) -> Failed:
    """Sources of a committed shard that gave nothing, for one of ``reasons`` (any, where there are none).

    ``newest`` is over the whole plan, so that what is planned again already, done or not, is not chosen.
    Nor is what was taken down.
    """
    rows_of: dict[int, list[LedgerRow]] = {}
    for row in newest.counting(ledger):
        rows_of.setdefault(row["source_index"] - shard.first_source_index, []).append(row)
    chosen: list[PlannedSource] = []
    members_left_out = 0
    for place, rows in sorted(rows_of.items()):
        failed = [row for row in rows if row["outcome"] == Outcome.FAILED]
        retried = [row for row in failed if row["reason"] != Reason.REMOVED]
        wanted = [row for row in retried if not reasons or row["reason"] in reasons]
        if wanted and len(failed) == len(rows):
            chosen.append(shard.sources[place])
        else:
            members_left_out += len(wanted)
    return Failed(sources=tuple(chosen), members_left_out=members_left_out)
