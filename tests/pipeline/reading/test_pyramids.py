"""Pyramids: their scales, alone, in batches and in worker processes; and packed into rows, token by token."""

from dataclasses import replace
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bitmill.pipeline.reading import (
    Clips,
    GridBuckets,
    Packing,
    TokenBatches,
    TokenDataset,
    TokenLoader,
)
from bitmill.schemas.dataset.packing import pack_codes
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import Code, Geometry
from tests.support.token_datasets import StoredDataset, store_dataset

SCHEDULES = {
    "4x4": ((1, 1, 1), (1, 2, 2), (1, 4, 4)),
    "2x4": ((1, 1, 1), (1, 1, 2), (1, 2, 4)),
    "4x2": ((1, 1, 1), (1, 2, 1), (1, 4, 2)),
}
"""Two of them have the same number of tokens."""

CODES = {
    "64 bits": Code.of_bits(64, "least"),
    "digits": Code.of_digits((8, 5, 5)),
    "index": Code.of_index(1000),
}


def stored_pyramids(folder: Path, code: Code = CODES["64 bits"], shapes=None) -> StoredDataset:
    geometry = Geometry(layout="pyramid", patch_px=(8, 8), max_frames=1, schedules=SCHEDULES, code=code)
    some = [[(1, 4, 4), (1, 2, 4), (1, 4, 2)] * 4, [(1, 4, 4)] * 5]
    return store_dataset(folder, some if shapes is None else shapes, geometry=geometry)


def scales_by_id(stored: StoredDataset) -> dict[str, list[np.ndarray]]:
    found = {}
    for row in stored.clips:
        grids = SCHEDULES[f"{row.height}x{row.width}"]
        parts = np.split(stored.codes(row), np.cumsum([prod(grid) for grid in grids])[:-1])
        found[row.clip_id] = [part.reshape(*grid, -1) for part, grid in zip(parts, grids, strict=True)]
    return found


def same(scales, expected) -> bool:
    return len(scales) == len(expected) and all(map(np.array_equal, map(np.asarray, scales), expected))


def bucketed(dataset: TokenDataset) -> TokenBatches:
    shape = GridBuckets(tokens_per_batch=40)
    return TokenBatches(dataset, shape=shape, shuffle=True, remainder="keep", window_bytes=500)


@pytest.mark.parametrize("kind", CODES)
def test_each_clip_and_each_batch_is_a_list_of_its_scales(tmp_path, kind):
    stored = stored_pyramids(tmp_path, CODES[kind])
    expected, dataset = scales_by_id(stored), TokenDataset(tmp_path, scales=True, columns=("clip_id",))
    for sample in [*dataset, *(dataset[number] for number in range(len(dataset)))]:
        assert same(sample["tokens"], expected[sample["clip_id"]])
    seen = []
    for batch in bucketed(dataset):
        assert [tuple(scale.shape[1:4]) for scale in batch["tokens"]] == list(
            SCHEDULES["{1}x{2}".format(*batch["grid"])]
        )
        for number, clip_id in enumerate(batch["clip_id"]):
            assert same([scale[number] for scale in batch["tokens"]], expected[clip_id])
            seen.append(clip_id)
    assert sorted(seen) == sorted(expected)


def test_scales_of_other_views_are_cut_alike(tmp_path):
    stored_pyramids(tmp_path)
    for view, last in (("values", (64,)), ("groups", (4,))):
        options = {"view": view, "group_bits": 16 if view == "groups" else None}
        whole, cut = TokenDataset(tmp_path, **options), TokenDataset(tmp_path, scales=True, **options)
        assert torch.equal(torch.cat([scale.flatten(0, 2) for scale in cut[1]["tokens"]]), whole[1]["tokens"])
        assert cut[1]["tokens"][2].shape == (1, 2, 4, *last)
    integers = stored_pyramids(tmp_path / "index", CODES["index"])
    (batch,) = TokenBatches(
        TokenDataset(integers.folder, view="integers", scales=True, where=_squares()), batch_size=9
    )
    assert [scale.shape for scale in batch["tokens"]] == [(9, 1, 1, 1), (9, 1, 2, 2), (9, 1, 4, 4)]


def _squares():
    import pyarrow.compute as pc

    return pc.field("height") == pc.field("width")


def test_workers_and_saved_states_give_the_same_scales(tmp_path):
    stored_pyramids(tmp_path)
    dataset = TokenDataset(tmp_path, scales=True)
    expected = [batch["tokens"] for batch in bucketed(dataset)]
    loader = TokenLoader(bucketed(dataset), num_workers=2)
    found = [batch["tokens"] for batch in islice(loader, 3)]
    resumed = TokenLoader(bucketed(dataset), num_workers=1)
    resumed.load_state_dict(loader.state_dict())
    found += [batch["tokens"] for batch in resumed]
    assert len(found) == len(expected)
    assert all(same(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_a_plain_loader_of_single_clips_stacks_each_scale(tmp_path):
    stored_pyramids(tmp_path, shapes=[[(1, 2, 4)] * 4])
    dataset = TokenDataset(tmp_path, scales=True)
    (batch,) = DataLoader(dataset, batch_size=4)
    (ours,) = TokenBatches(dataset, batch_size=4)
    assert same(batch["tokens"], ours["tokens"])


def test_what_has_no_scales_is_a_sentence(tmp_path):
    pyramids, grids = stored_pyramids(tmp_path / "pyramids"), store_dataset(tmp_path / "grids", [[(2, 3, 3)]])
    with pytest.raises(UsageError, match="scales=True cuts pyramids; these tokens are one grid per clip"):
        TokenDataset(grids.folder, scales=True)
    with pytest.raises(UsageError, match="these tokens are packed bytes, so leave it out"):
        TokenDataset(pyramids.folder, view="packed", scales=True)
    dataset = TokenDataset(pyramids.folder, scales=True)
    with pytest.raises(UsageError, match=r"have 3 shapes .* cannot be stacked\. Use shape=GridBuckets\(\)"):
        TokenBatches(dataset, batch_size=2, shape=Clips())
    with pytest.raises(UsageError, match="so it cannot be cut into scales: leave out scales=True"):
        TokenBatches(dataset, batch_size=2, shape=Packing(40))
    with pytest.raises(UsageError, match="must have the same view, group_bits, scales and columns"):
        TokenBatches([(dataset, 1.0), (TokenDataset(pyramids.folder), 1.0)], batch_size=2)


# Packed rows


def numbered(folder: Path, *shapes: tuple[int, int, int]) -> str:
    """A dataset whose tokens, of an index, count from 1, through all clips."""
    stored = stored_pyramids(folder, CODES["index"], [[*shapes]])
    number = 1
    for place, row in enumerate(stored.rows[0]):
        count = len(stored.codes(row))
        codes = pack_codes(np.arange(number, number + count)[:, None], stored.geometry.code)
        stored.rows[0][place] = replace(row, clip_id=f"clip {place}", codes=codes)
        number += count
    stored.commit(0)
    return str(folder)


def packed(uri: str, shape: Packing):
    dataset = TokenDataset(uri, view="integers", columns=("clip_id",))
    (batch,) = TokenBatches(dataset, batch_size=1, shape=shape)
    return {
        name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in batch.items()
    }


FREE = [-1, -1, -1]


def test_pyramids_in_a_row_tell_scale_grid_and_position_of_each_token(tmp_path):
    batch = packed(numbered(tmp_path, (1, 2, 4), (1, 4, 2)), Packing(24, times=True))
    assert batch["tokens"] == [[*range(1, 23), 0, 0]]
    assert batch["document_ids"] == [[0] * 11 + [1] * 11 + [-1, -1]]
    assert batch["scales"] == [[0, 1, 1, *[2] * 8, 0, 1, 1, *[2] * 8, -1, -1]]
    wide = [[0, row, column] for row in range(2) for column in range(4)]
    high = [[0, row, column] for row in range(4) for column in range(2)]
    assert batch["positions"] == [
        [[0, 0, 0], [0, 0, 0], [0, 0, 1], *wide, [0, 0, 0], [0, 0, 0], [0, 1, 0], *high, FREE, FREE]
    ]
    assert batch["scale_grids"] == [
        [
            *([1, 1, 1], [1, 1, 2], [1, 1, 2], *[[1, 2, 4]] * 8),
            *([1, 1, 1], [1, 2, 1], [1, 2, 1], *[[1, 4, 2]] * 8),
            *(FREE, FREE),
        ]
    ]
    assert (batch["cu_seqlens"], batch["max_seqlen"]) == ([0, 11, 22, 24], 11)
    assert batch["times_ns"] == [[*[0] * 11, *[10**9] * 11, -1, -1]]
    assert batch["clip_id"] == [["clip 0", "clip 1"]]


def test_a_start_token_stands_before_each_pyramid(tmp_path):
    batch = packed(numbered(tmp_path, (1, 2, 4), (1, 4, 2)), Packing(24, start_tokens=True))
    assert batch["tokens"] == [[1000, *range(1, 12), 1000, *range(12, 23)]]
    assert [batch["scales"][0][place] for place in (0, 1, 11, 12, 13)] == [-1, 0, 2, -1, 0]
    assert [batch["positions"][0][place] for place in (0, 1, 12)] == [[0, -1, -1], [0, 0, 0], [0, -1, -1]]
    assert [batch["scale_grids"][0][place] for place in (11, 12)] == [[1, 2, 4], FREE]


def test_every_pyramid_is_packed_whole_in_any_order(tmp_path):
    stored = stored_pyramids(tmp_path)
    expected = {row.clip_id: stored.codes(row) for row in stored.clips}
    dataset = TokenDataset(tmp_path, columns=("clip_id",))
    batches = TokenBatches(dataset, batch_size=2, shape=Packing(50), shuffle=True, remainder="keep")
    for batch in batches:
        for row, clip_ids in enumerate(batch["clip_id"]):
            for number, clip_id in enumerate(clip_ids):
                own = batch["document_ids"][row] == number
                assert np.array_equal(batch["tokens"][row][own], expected.pop(clip_id))
                assert (batch["scales"][row][own].diff() >= 0).all()
    assert not expected


def test_a_pyramid_longer_than_a_row_is_not_split(tmp_path):
    stored_pyramids(tmp_path)
    with pytest.raises(UsageError, match="A pyramid takes 21 tokens, more than a row of 20"):
        TokenBatches(TokenDataset(tmp_path), batch_size=2, shape=Packing(20))
