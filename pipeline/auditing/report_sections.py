"""Turns collected data into report sections and findings, after all shards are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

from bitmill.bsq_model.numerics import set_numerics
from bitmill.bsq_model.plugins import MissingPluginError
from bitmill.pipeline.auditing.check_sources import check_sources
from bitmill.pipeline.auditing.codes.code_collector import CodeCollector
from bitmill.pipeline.auditing.codes.code_health import code_health
from bitmill.pipeline.auditing.duplicates.duplicate_collector import DuplicateCollector
from bitmill.pipeline.auditing.duplicates.find_duplicates import find_duplicates
from bitmill.pipeline.auditing.duplicates.stored_clips import StoredClips
from bitmill.pipeline.auditing.options import CODES, DUPLICATES, SAMPLE, AuditOptions
from bitmill.pipeline.auditing.run_audit import DatasetAudit
from bitmill.pipeline.auditing.sample.choose_sample import DrawnClip, SampleDrawer
from bitmill.pipeline.auditing.sample.comparing import Lpips, compare_sample
from bitmill.pipeline.inspection.make_preview import stored_tokenizer
from bitmill.pipeline.inspection.source_frames import SourceFrames
from bitmill.schemas.errors import BrokenContractError, FormatError, UsageError
from bitmill.schemas.reports.audit_findings import Kind
from bitmill.schemas.reports.audit_report import (
    DIMENSION,
    UNITS,
    CodeHealth,
    Duplicates,
    Sample,
    SourceCheck,
)
from bitmill.schemas.requests.job import JobSpec

DUPLICATES_FILE = "duplicates.txt"

Told = TypeVar("Told")
Notify = Callable[[str], None]


@dataclass(kw_only=True)
class ReportSections:
    """Report sections beyond coverage and findings, and their files."""

    codes: CodeHealth | None = None
    duplicates: Duplicates | None = None
    sample: Sample | None = None
    sources: SourceCheck | None = None
    left_out: list[str] = field(default_factory=list[str])
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """By name, next to audit.json; includes the sample's pictures."""


def add_report_sections(
    audit: DatasetAudit,
    asked: AuditOptions,
    *,
    others: Sequence[tuple[str, DatasetAudit]],
    lpips: Lpips | None,
    work: Path,
    notify: Notify,
) -> ReportSections:
    """Build every requested section from the collected data; adds findings to the audit.

    ``others`` are audits of the compared datasets, by name. ``work`` is for temporary files; ``notify``
    receives progress messages. Raises InfrastructureError if the store fails.
    """
    parts = ReportSections()
    if asked.codes:
        parts.codes = _codes(audit, parts)
    if asked.duplicates:
        notify("searching for duplicates")
        parts.duplicates = _duplicates(audit, others, work, parts)
    if asked.sample:
        parts.sample = _sample(audit, asked, lpips, parts, notify)
    if asked.check_source:
        notify("listing the sources")
        parts.sources, found = check_sources(audit.at_hand.card, audit.at_hand.plan)
        audit.found.merge(found)
    else:
        parts.left_out.append("Sources were not listed; --check-source compares them with the plan.")
    return parts


def _gathered(audit: DatasetAudit, name: str, kind: type[Told]) -> Told:
    found = audit.collected[name]
    assert isinstance(found, kind)
    return found


def _codes(audit: DatasetAudit, parts: ReportSections) -> CodeHealth | None:
    health = code_health(_gathered(audit, CODES, CodeCollector).statistics)
    if not health.tokens:
        parts.left_out.append("Codes have no statistics: no token could be read.")
        return None
    for place in health.stuck_bits:
        if health.kind == "bits":
            told = f"it is 1 in {health.ones[place]:.4%} of all tokens"
        else:
            told = f"it has an entropy of {health.entropies[place]:.2%} of the most"
        audit.found.note(Kind.STUCK_BIT, told, where=f"{DIMENSION[health.kind]} {place}")
    return health


def _duplicates(
    audit: DatasetAudit, others: Sequence[tuple[str, DatasetAudit]], work: Path, parts: ReportSections
) -> Duplicates | None:
    every = [*(other for _, other in others), audit]
    store = StoredClips(
        [
            (one.at_hand.folder, {shard.shard_index: shard.shard_id for shard in one.at_hand.plan})
            for one in every
        ]
    )
    signatures = [_gathered(one, DUPLICATES, DuplicateCollector).signatures for one in every]
    path = work / DUPLICATES_FILE
    try:
        found = find_duplicates(
            signatures[-1],
            [(name, own) for (name, _), own in zip(others, signatures, strict=False)],
            store,
            list_path=path,
            folder=work,
        )
    except FormatError as error:
        # The dataset changed since it was read: a job or a removal is running.
        parts.left_out.append(f"Duplicates were not found: {error}")
        return None
    parts.files[DUPLICATES_FILE] = path.read_bytes()
    return found


def _sample(
    audit: DatasetAudit, asked: AuditOptions, lpips: Lpips | None, parts: ReportSections, notify: Notify
) -> Sample | None:
    drawn = _gathered(audit, SAMPLE, SampleDrawer).clips
    folder, card = audit.at_hand.folder, audit.at_hand.card
    if not drawn:
        parts.left_out.append("No clip could be drawn into a sample.")
        return None
    try:
        tokenizer = stored_tokenizer(folder, card)
    except MissingPluginError as error:
        return _not_compared(drawn, asked, str(error))
    except (FormatError, UsageError) as error:
        parts.left_out.append(f"No sample was compared: {error}")
        return None
    job = JobSpec.model_validate({**card.job, "output": folder.uri})
    made_on = card.fingerprint_fields.get("compute.device", "cpu")
    device = "cuda" if made_on == "cuda" and torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(job.compute.threads)
    if lpips is None:
        parts.left_out.append("LPIPS: fetch its network once with `bitmill weights fetch lpips-alexnet`.")
    try:
        set_numerics(tokenizer, job.compute.dtype, device)
        with SourceFrames(folder, card) as originals:
            sample, pictures = compare_sample(
                drawn,
                originals,
                tokenizer,
                seed=asked.seed,
                lpips=lpips,
                on_progress=lambda done: notify(f"sample: {done} of {len(drawn)} clips"),
            )
    except BrokenContractError as error:
        return _not_compared(drawn, asked, str(error))
    parts.files |= pictures
    units = UNITS[card.geometry.code.kind]
    for clip in sample.clips:
        if clip.differing_bits:
            detail = f"{clip.differing_bits} of {clip.num_bits} {units} differ, first: {clip.differs_at[0]}"
            audit.found.note(Kind.BITS_DIFFER, detail, where=clip.clip.clip_id)
    if device != made_on:
        return sample.model_copy(update={"note": f"Made on {made_on}, tokenized again on {device}."})
    return sample


def _not_compared(drawn: Sequence[DrawnClip], asked: AuditOptions, why: str) -> Sample:
    return Sample(
        seed=asked.seed,
        num_clips=len(drawn),
        compared=0,
        psnr_db=None,
        ssim=None,
        lpips=None,
        num_bits=0,
        differing_bits=0,
        clips=[],
        note=f"Its clips were not decoded and tokenized again, which needs the tokenizer. {why}",
    )
