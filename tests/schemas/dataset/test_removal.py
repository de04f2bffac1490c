"""A removal's record: named by what it asks for, read as ever, refused where newer or damaged."""

import json
from datetime import date
from pathlib import Path

import pytest

from bitmill.schemas.dataset.removal import Removal, RemovedShard, RemovedSource, read_removal, removal_file
from bitmill.schemas.errors import FormatError

GOLDEN = Path(__file__).parents[2] / "golden" / "v3" / "removal.json"
ASKED = Removal(removed_on=date(2026, 11, 5), sources=[RemovedSource(uri="/m/a.mp4")], clips=["0" * 32])


def test_the_golden_record_is_read_and_written_as_ever():
    data = GOLDEN.read_bytes()
    assert read_removal(data, origin="x").to_json() == data


def test_a_record_is_named_by_what_it_asks_for_alone():
    done = ASKED.model_copy(
        update={
            "removed_on": date(2027, 1, 1),
            "shards": [RemovedShard(shard_id="s", clip_ids=["0" * 32])],
            "num_clips": 1,
            "finished": True,
        }
    )
    assert removal_file(3, done) == removal_file(3, ASKED) == f"removals/00003-{ASKED.id}.json"
    others = [
        {"reason": "x"},
        {"clips": []},
        {"sources": [RemovedSource(uri="/m/a.mp4", key="k")]},
    ]
    assert len({ASKED.id, *(ASKED.model_copy(update=other).id for other in others)}) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2, "new": 1}, r"x has removal format 2; this bitmill reads up to 1\. Upgrade"),
        ({"new": 1}, r"x is damaged: unknown key 'new'\. Restore it"),
        ({"sources": "all"}, r"x is damaged: sources must be a list"),
        ({"format_version": None}, r"x is damaged: format_version must be a whole number"),
    ],
)
def test_what_cannot_be_relied_on_is_refused(change, message):
    document = json.loads(ASKED.to_json()) | change
    with pytest.raises(FormatError, match=message):
        read_removal(json.dumps(document).encode(), origin="x")
