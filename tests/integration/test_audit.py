"""Real datasets audited from the command line, here and by a cluster."""

import json
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster as RayCluster

from bitmill.schemas.audit import AuditReport, read_audit
from bitmill.schemas.findings import Kind
from tests.support.commands import bitmill

NO_TOKEN = {"RAY_AUTH_MODE": "disabled"}


def audit_in(folder: Path) -> AuditReport:
    return read_audit((folder / "audit.json").read_bytes(), origin=str(folder))


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.mark.ray
def test_real_clips_are_sound_here_and_on_a_cluster(cluster, clips_run, tmp_path):
    dataset, here, there = clips_run[0], tmp_path / "here", tmp_path / "there"
    local = bitmill("audit", str(dataset), "--out", str(here), "--workers", "2")
    assert local.code == 0, local.out + local.err
    remote = bitmill("audit", str(dataset), "--out", str(there), "--address", cluster.address, extra=NO_TOKEN)
    assert remote.code == 0, remote.out + remote.err
    unlike = {"created", "seconds"}
    assert audit_in(here).model_dump(exclude=unlike) == audit_in(there).model_dump(exclude=unlike)


def test_odd_files_are_accounted_for_and_nothing_is_damaged(odd_run, tmp_path):
    dataset, made = odd_run
    done = bitmill("audit", str(dataset), "--out", str(tmp_path), "--json")
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
