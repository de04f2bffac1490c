"""Tars beside plain files by the command line: same tokens, an outcome for each member, same bytes."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.dataset.dataset_folder import load_plan, require_card
from bitmill.pipeline.storage import Folder
from tests.support.commands import bitmill, differences
from tests.support.hostile import TARS_AND_PLAIN, run_hostile

pytestmark = pytest.mark.ray

LATE = "CoreWorkerService.grpc_server.ReportGeneratorItemReturns=300000:300000"
"""Longer than a tar's members take to decode: all that came before a decoder's death is on its way, and is
lost."""


def _of_tars_and_plain(rows):
    return [row for row in rows if "/plain/" in row["source"] or row["source"].endswith(".tar")]


def _ledgers(dataset: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of each ledger but for the number of their source, which tells of the whole job."""
    return {
        path.name: pq.read_table(path).drop_columns("source_index").to_pylist()
        for path in (dataset / "ledger").iterdir()
    }


def _clips(dataset: Path):
    folder = Folder(str(dataset))
    shards = [shard.shard_id for shard in load_plan(folder, require_card(folder))]
    tables = (pq.read_table(dataset / f"shards/{name}.parquet") for name in shards)
    return _of_tars_and_plain(row for table in tables for row in table.to_pylist())


def test_each_member_has_its_outcome(hostile_run):
    told = [
        (Path(row["source"]).name, row["key"], row["outcome"], row["reason"], row["num_clips"])
        for row in _of_tars_and_plain(hostile_run.ledger())
    ]
    clips = told[0][4]
    assert told == [
        ("bikes.mp4", None, "ok", None, clips),
        ("photo.jpg", None, "ok", None, 1),
        ("shard-000.tar", "one.v1.mp4", "ok", None, clips),
        ("shard-000.tar", "one.v2.jpg", "ok", None, 1),
        ("shard-001.tar", "a.jpg", "ok", None, 1),
        ("shard-001.tar", "b.jpg", "failed", "truncated", 0),
        ("shard-001.tar", None, "failed", "truncated", 0),
        *(("shard-002.tar", f"{number}.jpg", "ok", None, 1) for number in range(7)),
        ("shard-002.tar", "7.mp4", "partial", "decoder_crashed", 1),
        ("shard-002.tar", "8.mp4", "partial", "decode_timeout", 1),
        ("shard-002.tar", "9.mp4", "partial", "out_of_memory", 1),
        ("shard-002.tar", "10.jpg", "ok", None, 1),
    ]


def test_tokens_are_those_of_the_plain_files(hostile_run):
    rows = _clips(hostile_run.dataset)
    by_item = {}
    for row in rows:
        by_item.setdefault((Path(row["source"]).name, row["key"]), []).append(row)
    same = {
        ("shard-000.tar", "one.v1.mp4"): ("bikes.mp4", None),
        ("shard-000.tar", "one.v2.jpg"): ("photo.jpg", None),
        ("shard-002.tar", "10.jpg"): ("photo.jpg", None),
    }
    differing = {"clip_id", "source", "key", "metadata"}
    for one, other in same.items():
        for row, plain in zip(by_item[one], by_item[other], strict=True):
            assert {k: v for k, v in row.items() if k not in differing} == {
                k: v for k, v in plain.items() if k not in differing
            }
    assert len({row["clip_id"] for row in rows}) == len(rows)
    assert {row["metadata"] for row in by_item["shard-000.tar", "one.v1.mp4"]} == {'{"views":3}'}
    (photo,) = by_item["shard-000.tar", "one.v2.jpg"]
    assert json.loads(photo["metadata"]) == {"caption": "a photo"}


def test_more_actors_give_the_same_bytes_however_late_a_dying_decoders_clips_are_told(hostile_run, tmp_path):
    late = run_hostile(
        *(hostile_run.media, tmp_path),
        paths=TARS_AND_PLAIN,
        actors=2,
        settings={"RAY_testing_asio_delay_us": LATE},
    )
    # Ray tells that it makes things late.
    said = [line for line in late.done.err.splitlines() if "asio_" not in line]
    assert (late.done.code, said) == (3, [])
    assert "5 sources, with 18 items, in 3 shards" in late.done.out
    found, expected = (
        {path.name: path.read_bytes() for path in (run.dataset / "shards").iterdir()}
        for run in (late, hostile_run)
    )
    assert len(found) == 3
    assert differences(found, {name: expected[name] for name in found}) == {}
    ledgers = _ledgers(late.dataset)
    assert len(ledgers) == 3
    assert ledgers.items() <= _ledgers(hostile_run.dataset).items()


def test_the_card_counts_items_and_a_second_run_has_nothing_to_do(hostile_run):
    assert "80 sources, with 93 items, in " in hostile_run.done.out
    card = require_card(Folder(str(hostile_run.dataset)))
    assert card.totals is not None
    assert (card.num_sources, card.totals.items) == (80, 93)
    assert (card.totals.ok, card.totals.partial, card.totals.failed) == (81, 10, 2)
    again = bitmill("tokenize", str(hostile_run.job_file))
    assert again.code == 3, again.err
    assert "nothing to do" in again.out


def test_inspect_names_the_members_that_are_not_ok(hostile_run):
    done = bitmill("inspect", str(hostile_run.dataset), "--clips", "3")
    assert done.code == 0, done.err
    for name in ("shard-001.tar:b.jpg", "shard-001.tar", "shard-002.tar:7.mp4"):
        assert any(f"/{name}: " in line for line in done.out.splitlines()), name


def test_preview_finds_the_original_in_its_tar(hostile_run, tmp_path):
    picture = tmp_path / "sheet.png"
    done = bitmill(
        "preview",
        str(hostile_run.dataset),
        "--source",
        f"{hostile_run.media}/shard-000.tar",
        "--out",
        str(picture),
    )
    assert done.code == 0, done.err
    assert "without the original" not in done.out
