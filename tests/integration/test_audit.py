"""Real datasets audited from the command line, here and by a cluster."""

import json
import shutil
from pathlib import Path

import pytest

from bitmill.schemas.reports.audit_findings import Kind
from bitmill.schemas.reports.audit_report import AuditReport, read_audit
from tests.support.commands import bitmill
from tests.support.ray_nodes import JOINING


def audit_in(folder: Path) -> AuditReport:
    return read_audit((folder / "audit.json").read_bytes(), origin=str(folder))


pytestmark = pytest.mark.ray


def _copy(dataset: Path, folder: Path) -> Path:
    """A dataset by itself: reading leaves an index in it, while others may look at what it holds."""
    return shutil.copytree(dataset, folder / "tokens", ignore=shutil.ignore_patterns(".staging"))


def test_real_clips_are_sound_here_and_on_a_cluster(ray_cluster, clips_run, tmp_path):
    dataset, here, there = _copy(clips_run[0], tmp_path), tmp_path / "here", tmp_path / "there"
    local = bitmill("audit", str(dataset), "--out", str(here), "--workers", "2")
    assert local.code == 0, local.out + local.err
    words = ("audit", str(dataset), "--out", str(there), "--address", ray_cluster.address)
    remote = bitmill(*words, extra=JOINING)
    assert remote.code == 0, remote.out + remote.err
    unlike = {"created", "seconds"}
    assert audit_in(here).model_dump(exclude=unlike) == audit_in(there).model_dump(exclude=unlike)


def test_odd_files_are_accounted_for_and_nothing_is_damaged(odd_run, tmp_path):
    dataset, made = _copy(odd_run[0], tmp_path), odd_run[1]
    done = bitmill("audit", str(dataset), "--out", str(tmp_path / "report"), "--json")
    assert done.code == made.code == 3, done.err
    report = AuditReport.model_validate(json.loads(done.out))
    assert {findings.kind for findings in report.findings} == {Kind.FAILED_ITEMS}
    card = json.loads((dataset / "dataset.json").read_text())
    total = report.coverage.total
    assert {name: card["totals"][name] for name in ("ok", "partial", "failed", "clips", "frames")} == {
        "ok": total.ok,
        "partial": total.partial,
        "failed": total.failed,
        "clips": total.clips,
        "frames": total.frames,
    }
