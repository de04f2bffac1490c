"""The driver's counts where sources hold many items, on the fake cluster."""

import io
from pathlib import Path

import pytest

from bitmill.jobs.console import Console
from bitmill.jobs.execution.driver import run
from bitmill.jobs.preparation.prepare import PreparedJob, prepare
from bitmill.jobs.progress.run_counts import RunCounts
from bitmill.jobs.progress.summary import summary
from bitmill.pipeline.dataset.dataset_folder import load_ledger, require_card
from bitmill.pipeline.dataset.ledger import ledger_bytes
from bitmill.pipeline.items import ItemStart
from bitmill.pipeline.shard.shard_loop import tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.shard_totals import TOTALS_FILE
from bitmill.schemas.errors import FormatError, TooManyFailuresError
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.reports.status_file import Part
from tests.jobs.execution.test_driver import FakeCluster
from tests.support.fakes import HashEncoder, make_item, make_job


class TarCluster(FakeCluster):
    """Each source ``n.tar`` holds ten items, of which the first n fail."""

    def _events(self, assignment):
        shard = assignment.shard

        def items(source):
            failing = int(Path(source.uri).stem)
            for number in range(10):
                bad = number < failing
                yield ItemStart(key=f"{number}.mp4", size_bytes=1)
                yield from make_item(number, [] if bad else [2], reason=Reason.CORRUPT if bad else None)

        events = [items(source) for source in shard.sources]
        context = self._settings.context
        yield from tokenize_shard(shard, events, HashEncoder(), context, Folder(self._settings.output))


def _prepared(tmp_path: Path, failing: list[int], max_failures: float | None) -> PreparedJob:
    media = tmp_path / "media"
    media.mkdir(parents=True, exist_ok=True)
    for number in failing:
        (media / f"{number}.tar").write_bytes(b"x")
    job = make_job(
        source={"paths": [str(media)]},
        output=str(tmp_path / "tokens"),
        sharding={"max_sources": 1},
        max_failures=max_failures,
    )
    return prepare(job, cluster_has_gpus=lambda: False)


def _run(prepared: PreparedJob):
    run_counts = RunCounts(num_sources=0, num_shards=len(prepared.shards), num_committed=0)
    cluster = TarCluster(lambda *_: None)
    return run(prepared, cluster, run_counts), run_counts.counts  # type: ignore[arg-type]


def test_items_are_counted_and_told(tmp_path):
    prepared = _prepared(tmp_path, [0, 1, 2], None)
    result, counts = _run(prepared)
    assert (result.totals.items, result.totals.ok, result.totals.failed) == (30, 27, 3)
    assert counts.items == Part(planned=30, done=30)
    out = io.StringIO()
    summary(require_card(prepared.folder), result.totals, Console(file=out, width=200))
    assert "3 sources, with 30 items, in 3 shards" in out.getvalue()
    again = _prepared(tmp_path, [0, 1, 2], None)
    assert again.finished == result.totals


def test_failures_are_a_share_of_items_and_a_tar_is_judged_as_a_whole(tmp_path):
    # Its first two items fail; of ten that is no more than allowed.
    result, _ = _run(_prepared(tmp_path, [2], 0.2))
    assert result.totals.failed == 2
    with pytest.raises(TooManyFailuresError, match=r"8 of \d+ items failed, more than max_failures 0\.2"):
        _run(_prepared(tmp_path / "more", [8], 0.2))


def test_a_ledger_that_lost_a_source_is_damaged(tmp_path):
    prepared = _prepared(tmp_path, [0, 1], None)
    _run(prepared)
    first, second = prepared.shards
    rows = load_ledger(prepared.folder, second.shard_id)
    prepared.folder.write_bytes(
        f"ledger/{first.shard_id}.parquet", ledger_bytes([{**row, "source_index": 7} for row in rows])
    )
    (Path(prepared.folder.uri) / "shards" / f"{second.shard_id}.parquet").unlink()
    # Remembered totals vouch for a ledger that is there; without them it is read.
    (Path(prepared.folder.uri) / TOTALS_FILE).unlink()
    with pytest.raises(FormatError, match=r"has 0 rows of .*0\.tar; it is damaged"):
        _run(_prepared(tmp_path, [0, 1], None))
