"""Which version of the token shard a dataset has: chosen once, kept for good, also by cards and ledgers."""

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bitmill.jobs.preparation.append_and_retry import Growth
from bitmill.jobs.preparation.prepare import PreparedJob, prepare
from bitmill.pipeline.dataset.dataset_folder import require_card
from bitmill.pipeline.shard.shard_loop import tokenize_shard
from bitmill.schemas.dataset.card import DATASET_FILE
from bitmill.schemas.dataset.token_shard import read_shard_metadata
from bitmill.schemas.errors import OutputConflictError
from bitmill.schemas.requests.job_fingerprint import SHARD_VERSION_FIELD
from tests.support.fakes import HashEncoder, make_item, make_job


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.mp4").write_bytes(b"x")
    return folder


def _prepared(
    media: Path, output: str, shard_version: int | None = None, growth: Growth | None = None
) -> PreparedJob:
    job = make_job(
        source={"paths": [str(media)]},
        output=str(media.parent / output),
        sharding={"max_sources": 1},
        storage={"shard_version": shard_version},
    )
    return prepare(job, cluster_has_gpus=lambda: False, growth=growth)


def _commit(prepared: PreparedJob, *, limit: int = 99) -> PreparedJob:
    for shard in prepared.remaining[:limit]:
        items = [make_item(shard.first_source_index, [3, 2]) for _ in shard.sources]
        list(tokenize_shard(shard, items, HashEncoder(), prepared.context, prepared.folder))
    return prepared


def _bytes(prepared: PreparedJob) -> dict[str, bytes]:
    folder = prepared.folder
    return {
        f"{part}/{name}": folder.read_bytes(f"{part}/{name}")
        for part in ("plan", "shards", "ledger")
        for name in folder.list_names(part)
    }


def _versions(prepared: PreparedJob) -> set[tuple[int, bytes]]:
    """Of the shards, with that of their ledgers."""
    files, found = _bytes(prepared), set[tuple[int, bytes]]()
    for name, data in files.items():
        if name.startswith("shards/"):
            metadata = read_shard_metadata(pq.read_schema(io.BytesIO(data)), origin=name)
            ledger = pq.read_schema(io.BytesIO(files[name.replace("shards/", "ledger/")]))
            found.add((metadata.format_version, ledger.metadata[b"bitmill.format_version"]))
    return found


def test_a_dataset_of_version_1_goes_on_in_it(media):
    whole = _commit(_prepared(media, "whole", 1))
    assert SHARD_VERSION_FIELD not in whole.card.fingerprint_fields
    assert whole.card.format_version == 3
    begun = _commit(_prepared(media, "begun", 1), limit=1)
    card = begun.folder.read_bytes(DATASET_FILE)
    assert b'"format_version": 2' in card
    assert b'"geometry"' not in card
    ended = _commit(_prepared(media, "begun"))
    assert _bytes(ended) == _bytes(whole)
    assert ended.folder.read_bytes(DATASET_FILE) == card
    (media / "more.mp4").write_bytes(b"y")
    grown = _commit(_prepared(media, "begun", growth=Growth(append=True)))
    assert len(grown.committed | {shard.shard_id for shard in grown.shards}) == 4
    assert _versions(grown) == {(1, b"4")}


def test_a_new_dataset_is_of_version_2_and_stays_so(media):
    new = _commit(_prepared(media, "new"))
    assert require_card(new.folder).shard_version == 2
    assert _versions(new) == {(2, b"5")}
    assert new.card.job_fingerprint != _prepared(media, "old", 1).card.job_fingerprint
    assert _prepared(media, "new", 2).card == new.card


def test_another_version_is_another_job(media):
    _prepared(media, "old", 1)
    with pytest.raises(OutputConflictError, match=r"storage\.shard_version is 1 there and 2 here\."):
        _prepared(media, "old", 2)
