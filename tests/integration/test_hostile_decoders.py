"""A decoder that crashes, hangs or eats memory costs one item, which the ledger names."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.isolation.source_bundles import bundled
from tests.support.hostile import NUM_PICTURES, TROUBLE
from tests.support.tokenized import tokenize_here

pytestmark = pytest.mark.ray

REASONS = {"crash": "decoder_crashed", "hang": "decode_timeout", "hungry": "out_of_memory"}


def test_the_job_ends_and_says_that_not_all_is_ok(hostile_run):
    done = hostile_run.done
    assert done.code == 3, done.err
    assert done.err == ""


def test_of_videos_each_costs_exactly_its_item(hostile_run):
    rows = {Path(row["source"]).stem: row for row in hostile_run.ledger("videos")}
    assert {name: (row["outcome"], row["reason"]) for name, row in rows.items()} == {
        "a-fine": ("ok", None),
        "b-crash": ("partial", "decoder_crashed"),
        "c-hang": ("partial", "decode_timeout"),
        "d-hungry": ("partial", "out_of_memory"),
        "e-fine": ("ok", None),
    }
    whole = rows["a-fine"]["num_clips"]
    assert whole > 1
    # The clip that came before the trouble is kept, and no other.
    assert [row["num_clips"] for row in rows.values()] == [whole, 1, 1, 1, whole]
    assert rows["c-hang"]["detail"] == "The decoder made no progress for 15 s and was stopped."


def test_of_small_sources_that_share_a_task_each_costs_exactly_itself(hostile_run):
    (sources,) = (shard.sources for shard in hostile_run.shards() if "/pictures/" in shard.sources[0].uri)
    assert max(len(bundle.sources) for bundle in bundled(sources)) > 1
    # Each picture came before its trouble, and is kept.
    assert [(row["num_clips"], row["reason"]) for row in hostile_run.ledger("pictures")] == [
        (1, REASONS[TROUBLE[number]] if number in TROUBLE else None) for number in range(NUM_PICTURES)
    ]


def test_without_trouble_the_tokens_are_the_same(hostile_run, tmp_path):
    tokenize_here(hostile_run.media / "pictures", tmp_path / "calm", clip_frames=16, fps=8.0)
    calm = _clips(tmp_path / "calm")
    assert len(calm) == NUM_PICTURES
    assert [clip for clip in _clips(hostile_run.dataset) if "/pictures/" in clip["source"]] == calm


def _clips(dataset: Path):
    tables = (pq.read_table(shard) for shard in (dataset / "shards").iterdir())
    return sorted((clip for table in tables for clip in table.to_pylist()), key=lambda clip: clip["source"])
