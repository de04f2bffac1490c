"""Packed rows of a small dataset, every value written out: tokens, documents, positions, bounds, starts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitmill.pipeline.reading import Packing, TokenBatches, TokenDataset
from bitmill.schemas.dataset.packing import pack_integers
from tests.support.token_datasets import store_dataset


def numbered(folder: Path, *shapes: tuple[int, int, int]) -> str:
    """A dataset whose 4-bit tokens count from 1, through all clips."""
    stored = store_dataset(folder, [list(shapes)], bits_per_token=4, leave_out=[0])
    number = 1
    for place, row in enumerate(stored.rows[0]):
        count = row.num_frames * row.height * row.width
        codes = pack_integers(np.arange(number, number + count), 4)
        stored.rows[0][place] = replace(row, clip_id=f"clip {place}", codes=codes)
        number += count
    stored.commit(0)
    return str(folder)


def rows_of(uri: str, shape: Packing, *, batch_size: int, **options):
    dataset = TokenDataset(uri, columns=("clip_id",), **({"view": "integers"} | options))
    (batch,) = TokenBatches(dataset, batch_size=batch_size, shape=shape)
    assert batch["valid"].tolist() == [True] * batch_size
    return batch


FREE = [-1, -1, -1]


def test_whole_clips_in_rows(tmp_path):
    batch = rows_of(numbered(tmp_path, (2, 1, 2), (1, 2, 2), (3, 1, 1)), Packing(7), batch_size=2)
    assert batch["tokens"].tolist() == [
        [1, 2, 3, 4, 0, 0, 0],
        [5, 6, 7, 8, 9, 10, 11],
    ]
    assert batch["document_ids"].tolist() == [
        [0, 0, 0, 0, -1, -1, -1],
        [0, 0, 0, 0, 1, 1, 1],
    ]
    assert batch["positions"].tolist() == [
        [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1], FREE, FREE, FREE],
        [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0], [2, 0, 0]],
    ]
    assert batch["cu_seqlens"].tolist() == [0, 4, 7, 11, 14]
    assert batch["max_seqlen"] == 4
    assert batch["clip_id"] == [["clip 0"], ["clip 1", "clip 2"]]


def test_start_tokens_stand_before_clips_and_frames(tmp_path):
    shape = Packing(11, start_tokens=True)
    batch = rows_of(numbered(tmp_path, (2, 1, 2), (1, 2, 2), (3, 1, 1)), shape, batch_size=2)
    clip, frame = 16, 17
    assert batch["tokens"].tolist() == [
        [clip, 1, 2, frame, 3, 4, 0, 0, 0, 0, 0],
        [clip, 9, frame, 10, frame, 11, clip, 5, 6, 7, 8],
    ]
    assert batch["document_ids"].tolist() == [[0] * 6 + [-1] * 5, [0] * 6 + [1] * 5]
    assert batch["positions"].tolist() == [
        [[0, -1, -1], [0, 0, 0], [0, 0, 1], [1, -1, -1], [1, 0, 0], [1, 0, 1], *[FREE] * 5],
        [
            *([0, -1, -1], [0, 0, 0], [1, -1, -1], [1, 0, 0], [2, -1, -1], [2, 0, 0]),
            *([0, -1, -1], [0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]),
        ],
    ]
    assert batch["cu_seqlens"].tolist() == [0, 6, 11, 17, 22]
    assert batch["max_seqlen"] == 6
    assert batch["clip_id"] == [["clip 0"], ["clip 2", "clip 1"]]


def test_a_cut_clip_goes_on_with_a_frames_start(tmp_path):
    batch = rows_of(numbered(tmp_path, (4, 1, 2)), Packing(7, start_tokens=True), batch_size=2)
    clip, frame = 16, 17
    assert batch["tokens"].tolist() == [[clip, 1, 2, frame, 3, 4, 0], [frame, 5, 6, frame, 7, 8, 0]]
    assert batch["positions"][1].tolist() == [
        *([2, -1, -1], [2, 0, 0], [2, 0, 1]),
        *([3, -1, -1], [3, 0, 0], [3, 0, 1], FREE),
    ]
    assert batch["cu_seqlens"].tolist() == [0, 6, 7, 13, 14]
    assert batch["clip_id"] == [["clip 0"], ["clip 0"]]


def test_start_tokens_of_groups_fill_every_group(tmp_path):
    shape = Packing(4, start_tokens=True)
    batch = rows_of(numbered(tmp_path, (1, 1, 3)), shape, batch_size=1, view="groups", group_bits=2)
    assert batch["tokens"].tolist() == [[[4, 4], [0, 1], [0, 2], [0, 3]]]


@pytest.mark.parametrize("view", ["bits", "values"])
def test_places_that_are_not_filled_are_zero_in_every_view(tmp_path, view):
    batch = rows_of(numbered(tmp_path, (1, 1, 3)), Packing(5), batch_size=1, view=view)
    assert batch["tokens"].shape == (1, 5, 4)
    assert batch["tokens"][0, 3:].count_nonzero() == 0
    assert (batch["tokens"][0, :3] > 0).int().tolist() == [[0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 1, 1]]
