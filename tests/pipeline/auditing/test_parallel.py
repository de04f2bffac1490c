"""Who reads what, and in which chunks, changes nothing; codes are read once, and offered to all."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bitmill.pipeline.auditing.parallel import cut_chunks, in_order
from bitmill.schemas.errors import InfrastructureError
from bitmill.schemas.reports.audit_findings import Kind
from tests.support.audits import AuditedDataset, sound_dataset
from tests.support.collectors import Dying, Seen
from tests.support.commands import finish
from tests.support.datasets import make_dataset

pytestmark = pytest.mark.usefixtures("forked_children")


@pytest.fixture
def dataset(tmp_path: Path) -> AuditedDataset:
    clips = [[16, 16, 16, 16, 3] for _ in range(12)]
    dataset = sound_dataset(tmp_path / "tokens", clips)
    dataset.shard(1).unlink()
    dataset.ledger(2).unlink()
    dataset.flip(dataset.shard(4), column="codes")
    dataset.change_rows(5, lambda rows: rows.append(rows[0]))
    return dataset


@pytest.mark.slow
def test_the_report_does_not_depend_on_workers(dataset: AuditedDataset):
    assert dataset.audit(workers=1, columns=("caption",)) == dataset.audit(workers=2, columns=("caption",))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_every_whole_row_group_is_offered_once(dataset: AuditedDataset, workers: int):
    collected = dataset.collected({"seen": partial(Seen, "seen")}, workers=workers)["seen"]
    stored = [
        (shard, number, ids, codes)
        for shard in (0, 2, 3, 4, 5)
        for number, (ids, codes) in enumerate(dataset.stored(shard))
        if (shard, number) != (4, 0)
    ]
    assert collected.groups == stored


def test_compressed_codes_are_offered_alike(tmp_path: Path):
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    for path in (plain, packed):
        make_dataset(str(path), [[16, 9], [3, 3]], grid_size=4)
    dataset = AuditedDataset(packed)
    dataset.change_rows(0, lambda rows: None, compression="zstd")
    make = {"seen": partial(Seen, "seen")}
    assert dataset.collected(make)["seen"].groups == AuditedDataset(plain).collected(make)["seen"].groups


@pytest.mark.slow
def test_its_processes_start_without_torch():
    """Which takes longer to import than all the rest."""
    code = "import sys, bitmill.pipeline.auditing.parallel; sys.exit('torch' in sys.modules)"
    assert finish([sys.executable, "-c", code]).code == 0


@pytest.mark.slow
def test_a_dead_process_is_told_in_a_sentence(dataset: AuditedDataset):
    with pytest.raises(InfrastructureError, match="A process that read shards died"):
        dataset.collected({"dying": partial(Dying, "dying")}, workers=2)


class Scrambled:
    """A pool that finishes the latest chunk first."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, Any]] = []
        self.most = 0

    def has_room(self) -> bool:
        return len(self.waiting) < 3

    def send(self, number: int, chunk: Any) -> None:
        self.waiting.append((number, chunk))
        self.most = max(self.most, len(self.waiting))

    def receive(self) -> dict[int, Any]:
        return dict([self.waiting.pop()])


def test_answers_come_in_order_and_few_wait():
    pool = Scrambled()
    chunks: Any = [[number] for number in range(20)]
    assert list(in_order(chunks, pool, max_pending=5)) == chunks
    assert pool.most == 3


def test_chunks_are_all_shards_in_order(dataset: AuditedDataset):
    shards: Any = list(range(1000))
    for workers in (1, 2, 16, 300):
        chunks = cut_chunks(shards, workers)
        assert [shard for chunk in chunks for shard in chunk] == shards
        assert max(map(len, chunks)) <= 64
    assert cut_chunks([], 4) == []


def test_a_dataset_without_shards(tmp_path: Path):
    make_dataset(str(tmp_path / "tokens"), [])
    assert AuditedDataset(tmp_path / "tokens").audit(workers=2).findings == []


def test_damage_in_one_group_leaves_the_others(dataset: AuditedDataset):
    found = {one.kind: one.count for one in dataset.audit().findings}
    assert found == {
        Kind.MISSING_LEDGER: 1,
        Kind.BAD_CHECKSUM: 1,
        Kind.DUPLICATE_CLIP: 1,
        Kind.MISSING_SHARD: 1,
    }
