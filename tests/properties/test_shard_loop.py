"""Laws of the shard loop: what is written is what was decoded, whatever the batches, and it adds up."""

import tempfile
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.pipeline.dataset.ledger import check_accounts, read_ledger
from bitmill.pipeline.decode.pixels.frame_sizes import Buckets
from bitmill.pipeline.items import ItemStart
from bitmill.pipeline.shard.progress import ShardProgress, ShardReport
from bitmill.pipeline.shard.shard_loop import tokenize_shard
from bitmill.pipeline.storage import Folder
from bitmill.schemas.dataset.card import ledger_file, shard_file
from bitmill.schemas.dataset.packing import unpack_bits
from bitmill.schemas.dataset.plan_schema import PlannedShard, PlannedSource
from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.outcomes import Reason
from bitmill.schemas.requests.job import ComputeSpec, StorageSpec
from tests.support.fakes import (
    CodeEncoder,
    HashEncoder,
    make_clip,
    make_context,
    make_item,
    make_job,
    make_source,
)

ITEMS = st.lists(
    st.tuples(st.lists(st.integers(1, 9), max_size=5), st.sampled_from([None, Reason.CORRUPT])), max_size=6
)


def _run(items, folder: Path, *, batch_frames: int, row_group_bytes: int):
    job = make_job(
        compute=ComputeSpec(batch_frames=batch_frames), storage=StorageSpec(row_group_bytes=row_group_bytes)
    )
    sources = tuple(make_source(number) for number in range(len(items)))
    shard = PlannedShard(shard_id="s" * 32, shard_index=0, first_source_index=7, sources=sources)
    events = [make_item(number, lengths, reason=reason) for number, (lengths, reason) in enumerate(items)]
    *_, report = tokenize_shard(shard, events, HashEncoder(), make_context(job), Folder(str(folder)))
    return shard, report


@settings(max_examples=30)
@given(ITEMS, st.integers(1, 20))
def test_a_shard_holds_what_was_decoded(items, batch_frames):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shard, report = _run(items, folder, batch_frames=batch_frames, row_group_bytes=1024)
        rows = pq.read_table(folder / shard_file(shard.shard_id)).to_pylist()
        ledger = read_ledger((folder / ledger_file(shard.shard_id)).read_bytes(), origin="x")
    expected = [
        (source.uri, number, place, length)
        for number, (source, (lengths, _)) in enumerate(zip(shard.sources, items, strict=True))
        for place, length in enumerate(lengths)
    ]
    assert [(row["source"], row["num_frames"]) for row in rows] == [(uri, n) for uri, _, _, n in expected]
    for row, (_, number, place, length) in zip(rows, expected, strict=True):
        clip = make_clip(number * 1000 + place, num_frames=length)
        (bits_THWL,) = HashEncoder().encode([clip.frames_THWC])
        stored = unpack_bits(row["codes"], length * 4, 18)
        assert np.array_equal(stored.reshape(bits_THWL.shape), bits_THWL)
    assert len({row["clip_id"] for row in rows}) == len(rows)
    assert [row["source_index"] for row in ledger] == [7 + number for number in range(len(items))]
    assert isinstance(report, ShardReport)
    assert report.totals.items == len(items)
    assert report.totals.clips == len(rows) == sum(row["num_clips"] for row in ledger)
    assert report.totals.code_bytes == sum(len(row["codes"]) for row in rows)


@settings(max_examples=20)
@given(st.lists(ITEMS.filter(bool), min_size=1, max_size=3), st.integers(1, 20))
def test_an_archives_items_are_accounted_for_one_by_one(archives, batch_frames):
    sources = tuple(PlannedSource(uri=f"/{n}.tar", size_bytes=9, version="") for n in range(len(archives)))
    shard = PlannedShard(shard_id="s" * 32, shard_index=0, first_source_index=7, sources=sources)

    def events(items):
        for number, (lengths, reason) in enumerate(items):
            yield ItemStart(key=f"{number}.mp4", size_bytes=number, metadata=f'{{"n":{number}}}')
            yield from make_item(number, lengths, reason=reason)

    job = make_job(compute=ComputeSpec(batch_frames=batch_frames))
    with tempfile.TemporaryDirectory() as name:
        *progress, report = tokenize_shard(
            shard, map(events, archives), HashEncoder(), make_context(job), Folder(name)
        )
        rows = pq.read_table(Path(name) / shard_file(shard.shard_id)).to_pylist()
        ledger = read_ledger((Path(name) / ledger_file(shard.shard_id)).read_bytes(), origin="x")
    items = [
        (source, number, *item)
        for source, archive in zip(sources, archives, strict=True)
        for number, item in enumerate(archive)
    ]
    assert [(row["source"], row["key"], row["size_bytes"], row["num_clips"]) for row in ledger] == [
        (source.uri, f"{number}.mp4", number, len(lengths)) for source, number, lengths, _ in items
    ]
    assert [(row["source"], row["key"], row["num_frames"], row["metadata"]) for row in rows] == [
        (source.uri, f"{number}.mp4", length, f'{{"n":{number}}}')
        for source, number, lengths, _ in items
        for length in lengths
    ]
    assert len({row["clip_id"] for row in rows}) == len(rows)
    check_accounts(ledger, shard, origin="x")
    assert isinstance(report, ShardReport)
    assert report.totals.items == len(items)
    ended = [event for event in progress if isinstance(event, ShardProgress)]
    assert sum(event.items for event in ended) == len(items)
    assert len(sources) + sum(event.added_items for event in ended) == len(items)


def _clip_then(*more):
    yield from make_item(0, [1])
    yield from more


@pytest.mark.parametrize(
    ("uri", "events", "message"),
    [
        ("/a.mp4", _clip_then(make_clip(1)), "went on after its end"),
        ("/a.mp4", _clip_then(ItemStart(key="x", size_bytes=1)), "began within another"),
        ("/a.mp4", iter([make_clip(1)]), "stopped without an end"),
        ("/a.tar", iter([]), "stopped without an end"),
        ("/a.tar", make_item(0, [1]), "went on after its end, or before its start"),
        ("/a.tar", iter([ItemStart(key="x", size_bytes=1)] * 2), "began within another"),
    ],
)
def test_events_that_are_no_items_commit_nothing(tmp_path, uri, events, message):
    source = PlannedSource(uri=uri, size_bytes=1, version="")
    shard = PlannedShard(shard_id="s" * 32, shard_index=0, first_source_index=0, sources=(source,))
    with pytest.raises(ValueError, match=message):
        list(tokenize_shard(shard, [events], HashEncoder(), make_context(), Folder(str(tmp_path))))
    assert not (tmp_path / shard_file(shard.shard_id)).exists()


@settings(max_examples=20)
@given(ITEMS, st.integers(1, 20), st.integers(1, 20))
def test_batch_size_changes_no_byte_where_the_encoder_allows(items, one, other):
    with tempfile.TemporaryDirectory() as name:
        shard, _ = _run(items, Path(name) / "a", batch_frames=one, row_group_bytes=1024)
        _run(items, Path(name) / "b", batch_frames=other, row_group_bytes=1024)
        for file in (shard_file(shard.shard_id), ledger_file(shard.shard_id)):
            assert (Path(name) / "a" / file).read_bytes() == (Path(name) / "b" / file).read_bytes()


SIZES = [(16, 16), (16, 24), (24, 16), (32, 32)]
SIZED = st.lists(st.tuples(st.sampled_from(SIZES), st.lists(st.integers(1, 9), max_size=4)), max_size=8)


class _OneSizeEncoder(CodeEncoder):
    """Refuses a batch of several sizes, and of more pixels than allowed, unless it is one clip."""

    def __init__(self, geometry: Geometry, most_px: int) -> None:
        super().__init__(geometry)
        self._most_px = most_px

    def begin(self, clips):
        assert len({clip.shape[1:] for clip in clips}) == 1
        assert len(clips) == 1 or sum(prod(clip.shape[:3]) for clip in clips) <= self._most_px
        return super().begin(clips)


@settings(max_examples=30)
@given(SIZED, st.integers(1, 20))
def test_clips_of_many_sizes_are_written_in_plan_order(items, batch_frames):
    geometry = Geometry(patch_px=(8, 8), code=Code.of_bits(18))
    job = make_job(compute=ComputeSpec(batch_frames=batch_frames))
    context = replace(make_context(job, geometry=geometry), sizes=Buckets(tuple(SIZES)))
    sources = tuple(make_source(number) for number in range(len(items)))
    shard = PlannedShard(shard_id="s" * 32, shard_index=0, first_source_index=0, sources=sources)
    events = [make_item(number, lengths, size_px=size) for number, (size, lengths) in enumerate(items)]
    with tempfile.TemporaryDirectory() as name:
        *_, report = tokenize_shard(
            shard, events, _OneSizeEncoder(geometry, batch_frames * 32 * 32), context, Folder(name)
        )
        rows = pq.read_table(Path(name) / shard_file(shard.shard_id)).to_pylist()
        ledger = read_ledger((Path(name) / ledger_file(shard.shard_id)).read_bytes(), origin="x")
    expected = [
        (source.uri, length, size[0] // 8, size[1] // 8)
        for source, (size, lengths) in zip(sources, items, strict=True)
        for length in lengths
    ]
    assert [(row["source"], row["num_frames"], row["height"], row["width"]) for row in rows] == expected
    check_accounts(ledger, shard, origin="x")
    assert isinstance(report, ShardReport)
    for row, (size, lengths) in zip(ledger, items, strict=True):
        assert row["num_clips"] == len(lengths)
        assert row["num_tokens"] == sum(lengths) * (size[0] // 8) * (size[1] // 8)
