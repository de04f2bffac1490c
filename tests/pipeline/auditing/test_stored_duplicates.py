"""Duplicates of datasets that lie on disk, from their files to the report and the list."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq

from pipeline.auditing.duplicates.finding import find_duplicates
from pipeline.auditing.duplicates.gathering import DuplicateGatherer
from pipeline.auditing.duplicates.rereading import StoredGroups
from pipeline.auditing.gathering import RowGroupData
from pipeline.storage import Folder
from schemas.unpacking import SPARE_BYTES
from tests.support.token_datasets import StoredDataset, store_dataset

SHAPES = [[(2, 4, 4)] * 5, [(1, 4, 4), (3, 4, 4)] * 2]
BITS = 18


def gathered(stored: StoredDataset) -> DuplicateGatherer:
    gatherer = DuplicateGatherer(BITS, 0.05)
    for shard in range(len(stored.shards)):
        file = pq.ParquetFile(stored.path(shard))
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            codes = table.column("codes").to_pylist()
            gatherer.add(
                RowGroupData(
                    shard=shard,
                    number=number,
                    codes=np.frombuffer(b"".join(codes) + bytes(SPARE_BYTES), np.uint8),
                    starts=np.cumsum([0, *map(len, codes)])[:-1],
                    shapes_n3=np.stack(
                        [table.column(name).to_numpy() for name in ("num_frames", "height", "width")], axis=1
                    ).astype(np.int64),
                    table=table,
                )
            )
    return gatherer


def test_a_dataset_is_compared_with_another_on_disk(tmp_path):
    own = store_dataset(tmp_path / "own", SHAPES, seed=1)
    other = store_dataset(tmp_path / "other", [SHAPES[0][:3], []], seed=1)
    groups = StoredGroups(
        [
            (Folder(str(stored.folder)), {shard.shard_index: shard.shard_id for shard in stored.shards})
            for stored in (other, own)
        ]
    )
    report = find_duplicates(
        gathered(own).signatures,
        [("other", gathered(other).signatures)],
        groups,
        list_path=tmp_path / "duplicates.txt",
    )
    # Codes are drawn in order, so that the first clips are the same.
    expected = own.clips[:3]
    assert (tmp_path / "duplicates.txt").read_text().splitlines() == [clip.clip_id for clip in expected]
    assert (report.exact_groups, report.exact_clips, report.near_clips) == (3, 3, 0)
    assert [[place.dataset for place in group.clips] for group in report.groups] == [["other", None]] * 3
    places = [group.clips[1] for group in report.groups]
    assert [(place.source, place.start_ns, place.end_ns) for place in places] == [
        (clip.source, clip.start_ns, clip.end_ns) for clip in expected
    ]


def test_near_clips_are_read_again_from_their_shards(tmp_path):
    own = store_dataset(tmp_path / "own", SHAPES, seed=1)
    changed = own.rows[1][2]
    original = own.rows[1][0]
    codes = bytearray(original.codes)
    codes[5] ^= 0b1001
    own.rows[1][2] = replace(changed, codes=bytes(codes))
    own.commit(1)
    groups = StoredGroups(
        [(Folder(str(own.folder)), {shard.shard_index: shard.shard_id for shard in own.shards})]
    )
    report = find_duplicates(gathered(own).signatures, [], groups)
    assert (report.near_groups, report.near_clips, report.exact_clips) == (1, 1, 0)
    assert report.list_file is None
    assert report.groups[0].distance == 2 / (16 * BITS)
    assert [place.clip_id for place in report.groups[0].clips] == [original.clip_id, changed.clip_id]
