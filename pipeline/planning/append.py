"""Finds what to add to a dataset's plan: new sources, and failed ones to retry. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bitmill.pipeline.dataset.attempts import NewestAttempts
from bitmill.pipeline.dataset.ledger import LedgerRow
from bitmill.pipeline.planning.split_videos import split_uris
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource, SourcePlace
from bitmill.schemas.outcomes import Outcome, Reason


@dataclass(frozen=True, kw_only=True)
class Sifted:
    """Found sources, compared with the planned ones."""

    new: tuple[PlannedSource, ...]
    """Not planned yet, in listing order."""
    known: int
    """Number of sources planned with the same size and version."""
    changed: int
    """Number planned with another size or version; not added: their clips would reuse existing ids."""
    retold: int
    """Number of the known ones whose manifest now has other metadata, which no clip gets."""


def sift_sources(found: Iterable[PlannedSource], planned: Iterable[PlannedSource]) -> Sifted:
    """Classify found sources as new, known or changed; ``planned`` is in plan order, so the newest counts.

    A whole video that the plan split by time counts as known.
    """
    newest: dict[SourcePlace, PlannedSource] = {}
    for source in planned:
        newest[source.place] = source
    in_spans = split_uris(newest.values())
    new: list[PlannedSource] = []
    known = changed = retold = 0
    for source in found:
        same = [newest[source.place]] if source.place in newest else []
        if source.span_ns == (None, None):
            same = same or in_spans.get(source.uri, [])
        if not same:
            new.append(source)
        elif any((one.size_bytes, one.version) == (source.size_bytes, source.version) for one in same):
            known += 1
            retold += source.metadata is not None and all(one.metadata != source.metadata for one in same)
        else:
            changed += 1
    return Sifted(new=tuple(new), known=known, changed=changed, retold=retold)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Failed items that can be retried, and those that cannot."""

    sources: tuple[PlannedSource, ...]
    """Planned sources without any stored clip, in plan order."""
    members_left_out: int
    """Failed items whose source has clips of other items; a retry would duplicate those clips."""


def failed_sources(
    shard: PlannedShard, ledger: Sequence[LedgerRow], newest: NewestAttempts, reasons: frozenset[Reason]
) -> Failed:
    """Returns a committed shard's sources without clips that failed for one of ``reasons`` (empty: any).

    ``newest`` covers the whole plan, so that sources already planned again, done or not, are excluded. So are
    removed sources.
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
