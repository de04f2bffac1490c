"""Tars that the webdataset package reads, cut to size, with nothing in them but clips."""

import io
import json
import tarfile

import numpy as np
import pytest
import webdataset

from bitmill.pipeline.exporting.formats.webdataset import WebdatasetFormat
from bitmill.pipeline.reading import TokenDataset
from bitmill.schemas.reports.export_inventory import ExportFormat
from tests.support.exports import GEOMETRY, LENGTHS, WIDTHS, expected_tokens, export, made_clip

DTYPES = {12: np.uint16, 18: np.uint32, 36: np.uint64, 64: np.uint64}


def _read(folder):
    tars = sorted(str(path) for path in folder.glob("*.tar"))
    return list(webdataset.WebDataset(tars, shardshuffle=False).decode())


@pytest.mark.parametrize("bits_per_token", WIDTHS)
def test_webdataset_reads_every_token_and_column(tmp_path, bits_per_token):
    export(tmp_path, ExportFormat.WEBDATASET, bits_per_token=bits_per_token, max_bytes=20480)
    samples = _read(tmp_path / "out")
    columns = [name for name in samples[0]["json"] if name != "metadata"]
    dataset = list(TokenDataset(str(tmp_path / "tokens"), view="packed", columns=[*columns, "metadata"]))
    expected = expected_tokens(LENGTHS, bits_per_token=bits_per_token)
    assert len(samples) == len(expected) == 10
    for sample, row, tokens_THW in zip(samples, dataset, expected, strict=True):
        assert sample["__key__"] == row["clip_id"]
        assert sample["npy"].dtype == DTYPES[bits_per_token]
        assert sample["npy"].shape == tokens_THW.shape
        assert np.array_equal(sample["npy"], tokens_THW)
        assert sample["json"]["frame_pts_ns"] == row["frame_pts_ns"].tolist()
        assert all(sample["json"][name] == row[name] for name in columns if name != "frame_pts_ns")
        assert sample["json"]["metadata"] == (row["metadata"] and json.loads(row["metadata"]))
    assert samples[4]["json"]["metadata"] == {"caption": "clip 3"}
    assert {"source", "key", "start_ns", "end_ns", "fps", "frame_pts_ns"} <= set(columns)


def test_numpy_reads_a_member_by_itself(tmp_path):
    export(tmp_path, ExportFormat.WEBDATASET)
    with tarfile.open(tmp_path / "out" / "clips-000000.tar") as tar:
        members = tar.getmembers()
        array = np.load(io.BytesIO(tar.extractfile(members[0]).read()))
    assert np.array_equal(array, expected_tokens(LENGTHS, bits_per_token=18)[0])
    for member in members:
        assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
        assert member.mode == 0o644


@pytest.mark.parametrize("max_bytes", [1, 10240, 20480, 40000, 10**6])
def test_tars_keep_to_the_bound(tmp_path, max_bytes):
    result = export(tmp_path, ExportFormat.WEBDATASET, lengths=[[4] * 40], max_bytes=max_bytes)
    files = result.inventory.files
    assert sum(file.num_clips for file in files) == 40
    for file in files:
        assert (tmp_path / "out" / file.name).stat().st_size == file.size_bytes
        assert file.size_bytes <= max_bytes or file.num_clips == 1
    # What is allowed is used: only the last tar may be less than half full.
    assert all(2 * file.size_bytes >= max_bytes for file in files[:-1])


def test_a_name_is_not_cut_by_readers(tmp_path):
    layout = WebdatasetFormat(GEOMETRY, 2)
    clips = [
        made_clip((1, 2, 3), seed=1, source="/a.b/c.v2.mp4", key="x.y.jpg"),
        made_clip((2, 1, 1), seed=2),
    ]
    (tmp_path / "out").mkdir()
    layout.write_clips(tmp_path / "out" / layout.file_name(0, 1), iter(clips))
    samples = _read(tmp_path / "out")
    assert [sample["__key__"] for sample in samples] == [clip.clip_id for clip in clips]
    assert [sample["npy"].shape for sample in samples] == [(1, 2, 3), (2, 1, 1)]
    assert (tmp_path / "out" / "clips-000000.tar").stat().st_size % tarfile.RECORDSIZE == 0
