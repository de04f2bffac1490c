"""Compares the plan with the current sources: missing, changed and unplanned objects."""

from collections.abc import Iterable, Sequence

from bitmill.pipeline.auditing.shard.findings import FindingTally
from bitmill.pipeline.planning.append import sift_sources
from bitmill.pipeline.sources.listing import find_sources, looked_up_again
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource, SourcePlace
from bitmill.schemas.errors import UsageError
from bitmill.schemas.reports.audit_findings import Kind
from bitmill.schemas.reports.audit_report import SourceCheck
from bitmill.schemas.requests.job import SourceSpec

_EXAMPLES = 20
_GONE = ("missing", "denied")


def check_sources(card: DatasetCard, shards: Sequence[PlannedShard]) -> tuple[SourceCheck, FindingTally]:
    """List the sources that the dataset's job named, and compare them with its plan.

    Sees only what the store lets these credentials list. Raises InfrastructureError if the store fails.
    """
    planned: dict[SourcePlace, PlannedSource] = {}
    for shard in shards:
        for source in shard.sources:
            planned[source.place] = source
    found = [source for spec in _specs(card) for source in _found(spec)]
    there = {source.uri: (source.size_bytes, source.version) for source in found}
    # A job's paths may have been overridden since, or name a folder that moved: look those sources up singly.
    unlisted = [source for source in planned.values() if source.uri not in there]
    there |= {source.uri: (source.size_bytes, source.version) for source in looked_up_again(unlisted)}
    findings = FindingTally()
    gone = changed = 0
    for source in planned.values():
        size_bytes, version = there[source.uri]
        if version in _GONE:
            gone += 1
            findings.note(Kind.SOURCE_GONE, _GONE_TEXT[version], where=source.uri)
        elif (size_bytes, version) != (source.size_bytes, source.version):
            changed += 1
            was = f"{source.size_bytes} bytes, version {source.version}"
            detail = f"{was} were planned; {size_bytes} bytes, version {version} are there"
            findings.note(Kind.SOURCE_CHANGED, detail, where=source.uri)
    new = sift_sources(found, planned.values()).new
    for source in new:
        detail = f"{source.size_bytes} bytes, not in the plan"
        findings.note(Kind.SOURCE_NOT_PLANNED, detail, where=source.uri)
    check = SourceCheck(
        checked=len(planned),
        gone=gone,
        changed=changed,
        unplanned=len(new),
        unplanned_examples=[source.uri for source in new[:_EXAMPLES]],
    )
    return check, findings


_GONE_TEXT = {"missing": "the object no longer exists", "denied": "the credentials do not permit access"}


def _specs(card: DatasetCard) -> list[SourceSpec]:
    """The source sections of the job and of later appends."""
    return [
        SourceSpec(paths=section.get("source.paths"), manifest=section.get("source.manifest"))
        for section in [card.source_fields, *card.appended_sources]
    ]


def _found(spec: SourceSpec) -> Iterable[PlannedSource]:
    try:
        return find_sources(spec).sources
    except UsageError:
        # Nothing exists any more, or the manifest is gone: each planned source is then looked up singly.
        return ()
