"""Duplicates of datasets that lie on disk, from their files to the report and the list."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from bitmill.pipeline.auditing.duplicates.duplicate_collector import DuplicateCollector
from bitmill.pipeline.auditing.duplicates.find_duplicates import find_duplicates
from bitmill.pipeline.auditing.duplicates.stored_clips import StoredClips
from bitmill.pipeline.auditing.shard.collector_protocol import RowGroupData
from bitmill.pipeline.reading.kernels.unpack import SPARE_BYTES
from bitmill.pipeline.reading.shards.parquet_pages import find_clips
from bitmill.pipeline.storage import Folder
from bitmill.schemas.errors import FormatError
from tests.support.token_datasets import StoredDataset, store_dataset

SHAPES = [[(2, 4, 4)] * 5, [(1, 4, 4), (3, 4, 4)] * 2]
BITS = 18


def collected(stored: StoredDataset) -> DuplicateCollector:
    collector = DuplicateCollector(BITS, 0.05)
    for shard in range(len(stored.shards)):
        file = pq.ParquetFile(stored.path(shard))
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            sides = [table.column(name).to_numpy() for name in ("num_frames", "height", "width")]
            shapes_n3 = np.stack(sides, axis=1).astype(np.int64)
            column = file.metadata.row_group(number).column(file.schema_arrow.names.index("codes"))
            chunk = stored.path(shard).read_bytes()[column.data_page_offset :][: column.total_compressed_size]
            codes, starts = find_clips(
                np.frombuffer(chunk, np.uint8),
                shapes_n3.prod(1),
                BITS,
                compressed=stored.compression != "none",
                verify=True,
            )
            collector.add(
                RowGroupData(
                    shard=shard,
                    number=number,
                    codes=np.concatenate((codes, np.zeros(SPARE_BYTES, np.uint8))),
                    starts=starts,
                    shapes_n3=shapes_n3,
                    num_tokens=shapes_n3.prod(1),
                    table=table,
                )
            )
    return collector


def stored_clips(*datasets: StoredDataset) -> StoredClips:
    return StoredClips(
        [
            (Folder(str(stored.folder)), {shard.shard_index: shard.shard_id for shard in stored.shards})
            for stored in datasets
        ]
    )


def test_a_dataset_is_compared_with_another_on_disk(tmp_path):
    own = store_dataset(tmp_path / "own", SHAPES, seed=1)
    other = store_dataset(tmp_path / "other", [SHAPES[0][:3], []], seed=1)
    report = find_duplicates(
        collected(own).signatures,
        [("other", collected(other).signatures)],
        stored_clips(other, own),
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


def with_near_clips(folder, compression) -> StoredDataset:
    """The third clip of the second shard is like its first but for two bits."""
    own = store_dataset(folder, SHAPES, seed=1, compression=compression)
    codes = bytearray(own.rows[1][0].codes)
    codes[5] ^= 0b1001
    own.rows[1][2] = replace(own.rows[1][2], codes=bytes(codes))
    own.commit(1)
    return own


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_near_clips_are_read_again_from_their_shards(tmp_path, compression):
    own = with_near_clips(tmp_path / "own", compression)
    report = find_duplicates(collected(own).signatures, [], stored_clips(own))
    assert (report.near_groups, report.near_clips, report.exact_clips) == (1, 1, 0)
    assert report.list_file is None
    assert report.groups[0].distance == 2 / (16 * BITS)
    near = [own.rows[1][0].clip_id, own.rows[1][2].clip_id]
    assert [place.clip_id for place in report.groups[0].clips] == near


def test_a_shard_that_is_changed_meanwhile_is_named(tmp_path):
    own = with_near_clips(tmp_path / "own", "none")
    signatures = collected(own).signatures
    own.rows[1][0] = replace(own.rows[1][0], codes=bytes(len(own.rows[1][0].codes)))
    own.commit(1)
    with pytest.raises(FormatError, match=rf"{own.shards[1].shard_id}.* changed during the audit"):
        find_duplicates(signatures, [], stored_clips(own))
