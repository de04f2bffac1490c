"""The plan against the sources: what is gone, changed or new is told, each by name."""

import os
from pathlib import Path

import pytest

from bitmill.pipeline.auditing.check_sources import check_sources
from bitmill.pipeline.planning.cut_shards import cut_shards
from bitmill.pipeline.sources.listing import find_sources
from bitmill.schemas.dataset.card import DatasetCard
from bitmill.schemas.reports.audit_findings import Kind
from bitmill.schemas.requests.job import ShardingSpec, SourceSpec
from tests.support.token_datasets import store_dataset


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.mp4").write_bytes(bytes(number + 1))
    return folder


def check(card: DatasetCard, media: Path, planned):
    update = {"source_fields": {"source.paths": [str(media)], "source.manifest": None}}
    return check_sources(card.model_copy(update=update), planned)


@pytest.fixture
def card(tmp_path: Path) -> DatasetCard:
    from bitmill.pipeline.dataset.dataset_folder import require_card
    from bitmill.pipeline.storage import Folder

    store_dataset(tmp_path / "tokens", [[(1, 1, 1)]])
    return require_card(Folder(str(tmp_path / "tokens")))


def plan(media: Path):
    return cut_shards(
        find_sources(SourceSpec(paths=[str(media)])).sources, ShardingSpec(max_sources=2), "job"
    )


def test_nothing_to_tell(card, media):
    checked, findings = check(card, media, plan(media))
    assert (checked.checked, checked.gone, checked.changed, checked.unplanned) == (6, 0, 0, 0)
    assert not findings.counts


def test_each_difference_is_named(card, media):
    planned = plan(media)
    (media / "1.mp4").unlink()
    (media / "2.mp4").write_bytes(b"longer than it was")
    os.utime(media / "3.mp4", ns=(1, 1))
    (media / "new.mp4").write_bytes(b"new")
    (media / "notes.txt").write_bytes(b"no media")
    checked, findings = check(card, media, planned)
    assert (checked.checked, checked.gone, checked.changed, checked.unplanned) == (6, 1, 2, 1)
    assert checked.unplanned_examples == [str(media / "new.mp4")]
    where = {kind: [one.where for one in examples] for kind, examples in findings.examples.items()}
    assert where == {
        Kind.SOURCE_GONE: [str(media / "1.mp4")],
        Kind.SOURCE_CHANGED: [str(media / "2.mp4"), str(media / "3.mp4")],
        Kind.SOURCE_NOT_PLANNED: [str(media / "new.mp4")],
    }
    assert "3 bytes" in findings.examples[Kind.SOURCE_CHANGED][0].detail


def test_a_folder_that_is_gone_means_all_of_its_sources_are(card, media):
    planned = plan(media)
    for path in media.iterdir():
        path.unlink()
    media.rmdir()
    checked, _ = check(card, media, planned)
    assert (checked.gone, checked.unplanned) == (6, 0)
