"""GridBuckets on datasets of several grids: what batches hold, ranks, workers, states, refused options."""

import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bitmill.pipeline.reading import (
    ClipFilter,
    Clips,
    FrameWindows,
    GridBuckets,
    Packing,
    Padding,
    Prefetch,
    TokenBatches,
    TokenDataset,
    TokenLoader,
)
from bitmill.schemas.errors import UsageError
from tests.support.coded_datasets import GEOMETRIES
from tests.support.token_datasets import StoredDataset, store_dataset

LANDSCAPE, PORTRAIT, SQUARE = (2, 4), (4, 2), (3, 3)
SHAPES = [
    [(4, *LANDSCAPE), (2, *LANDSCAPE), (4, *PORTRAIT)] * 6,
    [],
    [(4, *SQUARE), (4, *LANDSCAPE), (1, *PORTRAIT)] * 7,
    [(3, *PORTRAIT), (4, *PORTRAIT)] * 8,
]
"""Four lengths and three grids of frames, in shards and row groups of several."""

NUM_CLIPS = sum(map(len, SHAPES))


@pytest.fixture
def stored(tmp_path) -> StoredDataset:
    return store_dataset(tmp_path / "tokens", SHAPES)


def opened(stored: StoredDataset, **options) -> TokenDataset:
    return TokenDataset(stored.folder, columns=("clip_id",), **options)


def bucketed(data, shape=None, **options) -> TokenBatches:
    """Small shuffled batches from many blocks."""
    given = {"shuffle": True, "remainder": "keep", "window_bytes": 500, "batch_size": 3} | options
    return TokenBatches(data, shape=shape or GridBuckets(), **given)


def ids_of(batches) -> list[list[str]]:
    return [batch["clip_id"] for batch in batches]


# What a batch holds

VIEWS = {
    "bits": ["bits", "integers", "packed"],
    "digits": ["digits", "values", "integers", "packed"],
    "index": ["digits", "integers", "packed"],
}


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("kind", VIEWS)
def test_each_batch_has_one_grid_and_every_clip_comes_as_it_was_written(tmp_path, kind, shuffle):
    geometry = None if kind == "bits" else GEOMETRIES[kind]
    stored = store_dataset(tmp_path, SHAPES, geometry=geometry)
    rows = {row.clip_id: row for row in stored.clips}
    for view in VIEWS[kind]:
        dataset = TokenDataset(tmp_path, view=view, columns=("clip_id", "height"))
        whole = {dataset[number]["clip_id"]: dataset[number]["tokens"] for number in range(len(dataset))}
        seen: list[str] = []
        for batch in bucketed(dataset, shuffle=shuffle):
            assert 1 <= len(batch["tokens"]) == batch["global_samples"] <= 3
            assert batch["valid"].all()
            for clip_id, tokens in zip(batch["clip_id"], batch["tokens"], strict=True):
                row = rows[clip_id]
                assert batch["grid"] == (row.num_frames, row.height, row.width)
                assert torch.equal(tokens, whole[clip_id])
            assert (batch["height"] == batch["grid"][1]).all()
            seen += batch["clip_id"]
        assert sorted(seen) == sorted(rows)


def test_windows_are_cut_first_and_then_bucketed(stored):
    rows = {row.clip_id: row for row in stored.clips}
    seen: list[tuple[str, bytes]] = []
    for batch in bucketed(opened(stored), GridBuckets(FrameWindows(2, 1))):
        assert batch["grid"] in {(2, *LANDSCAPE), (2, *PORTRAIT), (2, *SQUARE)}
        assert tuple(batch["tokens"].shape[1:4]) == batch["grid"]
        seen += [
            (clip_id, tokens.numpy().tobytes())
            for clip_id, tokens in zip(batch["clip_id"], batch["tokens"], strict=True)
        ]
    expected = [
        (clip_id, np.ascontiguousarray(stored.codes(row)[first : first + 2]).tobytes())
        for clip_id, row in rows.items()
        for first in range(row.num_frames - 1)
    ]
    assert Counter(seen) == Counter(expected)


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        (Padding(), {LANDSCAPE: 4, PORTRAIT: 4, SQUARE: 4}),
        (Padding(6), dict.fromkeys((LANDSCAPE, PORTRAIT, SQUARE), 6)),
    ],
)
def test_padding_is_by_height_and_width(stored, shape, rows):
    every = {row.clip_id: row for row in stored.clips}
    seen: list[str] = []
    for batch in bucketed(opened(stored), GridBuckets(shape)):
        assert batch["grid"][0] == rows[batch["grid"][1:]]
        assert batch["mask"].shape == (len(batch["tokens"]), batch["grid"][0])
        assert not batch["tokens"][~batch["mask"]].any()
        for clip_id, tokens, mask in zip(batch["clip_id"], batch["tokens"], batch["mask"], strict=True):
            assert np.array_equal(tokens[mask].numpy(), stored.codes(every[clip_id]))
        seen += batch["clip_id"]
    assert sorted(seen) == sorted(every)


def test_clips_are_padded_to_the_longest_of_their_own_grid(tmp_path):
    stored = store_dataset(tmp_path, [[(4, 2, 2), (1, 2, 2), (2, 3, 2), (1, 3, 2)]])
    grids = {batch["grid"] for batch in bucketed(opened(stored), GridBuckets(Padding()))}
    assert grids == {(4, 2, 2), (2, 3, 2)}


@pytest.mark.parametrize("budget", [1, 40, 64, 10**6])
def test_a_batch_holds_as_many_samples_as_the_budget_has_tokens_for(stored, budget):
    batches = bucketed(opened(stored), GridBuckets(tokens_per_batch=budget), batch_size=None)
    number, seen = len(batches), list(batches)
    assert len(seen) == number
    largest = Counter()
    for batch in seen:
        tokens = int(np.prod(batch["grid"]))
        assert len(batch["tokens"]) == 1 or len(batch["tokens"]) * tokens <= budget
        largest[batch["grid"]] = max(largest[batch["grid"]], len(batch["tokens"]))
    assert sorted(clip_id for batch in seen for clip_id in batch["clip_id"]) == sorted(
        row.clip_id for row in stored.clips
    )
    if budget < 100:
        # Grids that have enough clips in a block have full batches.
        assert largest[4, *LANDSCAPE] == max(1, budget // 32)


def test_pyramids_of_several_schedules_are_bucketed_whole(tmp_path):
    grids = {"4x4": ((1, 1, 1), (1, 2, 2), (1, 4, 4)), "2x4": ((1, 1, 2), (1, 2, 4))}
    geometry = GEOMETRIES["pyramid"].model_copy(update={"schedules": grids})
    stored = store_dataset(tmp_path, [[(1, 4, 4), (1, 2, 4)] * 5], geometry=geometry)
    rows = {row.clip_id: row for row in stored.clips}
    for batch in bucketed(opened(stored)):
        assert batch["tokens"].shape[1:] == ({(1, 4, 4): 21, (1, 2, 4): 10}[batch["grid"]], 1)
        for clip_id, tokens in zip(batch["clip_id"], batch["tokens"], strict=True):
            assert np.array_equal(tokens.numpy(), stored.codes(rows.pop(clip_id)))
    assert not rows
    for shape in (GridBuckets(Padding()), GridBuckets(FrameWindows(1))):
        with pytest.raises(UsageError, match=r"use shape=Clips\(\), GridBuckets\(\) for clips of several"):
            TokenBatches(opened(stored), batch_size=2, shape=shape)


def test_damaged_clips_are_not_valid_and_all_else_is_there(stored):
    lost = [row.clip_id for row in stored.rows[2][6:9]]
    data = bytearray(stored.path(2).read_bytes())
    data[bytes(data).index(stored.rows[2][7].codes) + 2] ^= 8
    stored.path(2).write_bytes(bytes(data))
    batches = list(bucketed(opened(stored, skip_damaged=True)))
    missing = [flag for batch in batches for flag in batch["valid"].tolist() if not flag]
    seen = {clip_id for batch in batches for clip_id in batch["clip_id"]} - {None}
    assert len(seen) + len(missing) == NUM_CLIPS
    assert 0 < len(missing) <= len(lost) + 3
    assert stored.rows[2][7].clip_id not in seen
    for batch in batches:
        assert not batch["tokens"][~batch["valid"]].any()


# Order


GOLDEN = [
    [8, 11, 29],
    [10, 31, 12],
    [9, 28, 30],
    [25, 22, 16],
    [14, 26, 23],
    [15, 24, 18],
    [13, 27, 21],
    [20, 35, 5],
    [34, 7, 0],
    [17, 32, 2],
    [19, 4, 1],
    [33, 6, 3],
]


def test_golden_order(tmp_path):
    """What a run of months depends on: other numbers here are another order for every dataset."""
    stored = store_dataset(tmp_path, [[(1, 2, 2), (1, 2, 2), (1, 1, 3)] * 4] * 3, row_group_bytes=30)
    places = {row.clip_id: place for place, row in enumerate(stored.clips)}
    dataset = TokenDataset(tmp_path, columns=("clip_id",))
    # A window is a row group, so that what pages' headers take does not matter.
    batches = bucketed(dataset, batch_size=3, seed=1, lanes=3, window_bytes=180)
    assert [[places[clip_id] for clip_id in batch] for batch in ids_of(batches)] == GOLDEN


@pytest.mark.slow
@pytest.mark.parametrize("remainder", ["drop", "pad", "keep"])
@pytest.mark.parametrize(
    "shape", [GridBuckets(FrameWindows(1)), GridBuckets(Padding(), tokens_per_batch=100)]
)
@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_ranks_have_together_what_one_has(stored, shape, remainder, world_size):
    """Also more ranks than samples: some have batches without any, of the same types."""
    options = {"remainder": remainder, "batch_size": 3 if shape.tokens_per_batch is None else None}
    dataset = TokenDataset(stored.folder, columns=("clip_id", "num_frames", "fps"))
    alone = list(bucketed(dataset, shape, **options))
    parts = [
        list(bucketed(dataset, shape, rank=rank, world_size=world_size, **options))
        for rank in range(world_size)
    ]
    assert {len(part) for part in parts} == {len(alone)}
    for number, batch in enumerate(alone):
        own = [part[number] for part in parts]
        for name in ("tokens", "valid", "num_frames", "fps", *(["mask"] if "mask" in batch else [])):
            assert torch.equal(torch.cat([one[name] for one in own]).nan_to_num(), batch[name].nan_to_num())
            assert {one[name].dtype for one in own} == {batch[name].dtype}
        assert [clip_id for one in own for clip_id in one["clip_id"]] == batch["clip_id"]
        assert {one["tokens"].shape[1:] for one in own} == {batch["tokens"].shape[1:]}
        assert {(one["grid"], one["global_samples"]) for one in own} == {
            (batch["grid"], len(batch["tokens"]))
        }
    if world_size == 8 and shape.tokens_per_batch is None:
        assert any(not len(batch["tokens"]) for part in parts for batch in part)


def test_remainders_hold_per_grid(stored):
    kept = list(bucketed(opened(stored), GridBuckets(Padding()), window_bytes=1500))
    padded = list(bucketed(opened(stored), GridBuckets(Padding()), window_bytes=1500, remainder="pad"))
    full = list(bucketed(opened(stored), GridBuckets(Padding()), window_bytes=1500, remainder="drop"))
    assert len(kept) == len(padded)
    assert {len(batch["tokens"]) for batch in kept} == {1, 2, 3}
    for short, filled in zip(kept, padded, strict=True):
        assert filled["grid"] == short["grid"]
        assert len(filled["tokens"]) == 3
        assert filled["valid"].tolist() == [place < len(short["tokens"]) for place in range(3)]
        assert filled["clip_id"][: len(short["tokens"])] == short["clip_id"]
    # Without their remainders, batches are the same, in another order.
    assert sorted(ids_of(full)) == sorted(ids for ids in ids_of(kept) if len(ids) == 3)


def test_epochs_differ_and_their_lengths_are_told(stored):
    batches = bucketed(opened(stored))
    epochs = []
    for epoch in range(3):
        assert batches.epoch == epoch
        number = len(batches)
        epochs.append(ids_of(batches))
        assert len(epochs[-1]) == number
    assert len({str(epoch) for epoch in epochs}) == 3
    for epoch in epochs:
        assert len({clip_id for batch in epoch for clip_id in batch}) == NUM_CLIPS
    # Batches of a grid do not follow each other.
    grids = [batch["grid"] for batch in bucketed(opened(stored), window_bytes=2**20)]
    assert grids != sorted(grids)


def test_in_order_a_grids_clips_come_as_in_the_dataset(stored):
    order = {row.clip_id: number for number, row in enumerate(stored.clips)}
    batches = list(bucketed(opened(stored), GridBuckets(Padding()), shuffle=False))
    for grid in {batch["grid"] for batch in batches}:
        numbers = [order[one] for batch in batches if batch["grid"] == grid for one in batch["clip_id"]]
        assert numbers == sorted(numbers)


def test_read_ahead_and_workers_change_nothing(stored):
    expected = ids_of(bucketed(opened(stored)))
    for prefetch in (
        Prefetch(batches=0, window_bytes=0, threads=1, read_threads=1),
        Prefetch(batches=50, window_bytes=2**30, threads=8, read_threads=8),
    ):
        assert ids_of(bucketed(opened(stored), prefetch=prefetch)) == expected
    loaded = list(TokenLoader(bucketed(opened(stored)), num_workers=2))
    assert ids_of(loaded) == expected
    assert all(tuple(batch["tokens"].shape[1:4]) == batch["grid"] for batch in loaded)
    assert ids_of(DataLoader(bucketed(opened(stored)), batch_size=None)) == expected


def test_folders_read_as_one_are_bucketed_together(stored, tmp_path):
    other = store_dataset(tmp_path / "other", [[(4, *LANDSCAPE), (5, 1, 1)] * 4], seed=3)
    dataset = TokenDataset([stored.folder, other.folder], columns=("clip_id",))
    batches = list(bucketed(dataset, window_bytes=2**20))
    both = {row.clip_id for row in (*stored.clips, *other.clips)}
    assert {clip_id for batch in batches for clip_id in batch["clip_id"]} == both
    own = {row.clip_id for row in other.clips}
    assert any(0 < len(own & set(batch["clip_id"])) < len(batch["clip_id"]) for batch in batches)


def test_a_filters_clips_alone_are_bucketed(stored):
    dataset = opened(stored, where=ClipFilter(min_frames=4))
    batches = list(bucketed(dataset))
    assert {batch["grid"] for batch in batches} == {(4, *LANDSCAPE), (4, *PORTRAIT), (4, *SQUARE)}
    expected = sorted(row.clip_id for row in stored.clips if row.num_frames == 4)
    assert sorted(clip_id for batch in batches for clip_id in batch["clip_id"]) == expected


# States


@pytest.mark.slow
@pytest.mark.parametrize("stop", [0, 1, 5, 17])
@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_a_state_goes_on_at_any_world_size(stored, stop, world_size):
    shape = GridBuckets(tokens_per_batch=96)
    whole = ids_of(bucketed(opened(stored), shape, batch_size=None))
    batches = bucketed(opened(stored), shape, batch_size=None, rank=1, world_size=3)
    for _ in islice(iter(batches), stop):
        pass
    state = json.loads(json.dumps(batches.state_dict()))
    assert state == {"seed": 0, "order": state["order"], "epoch": 0, "batch": stop}
    parts = []
    for rank in range(world_size):
        resumed = bucketed(opened(stored), shape, batch_size=None, rank=rank, world_size=world_size)
        resumed.load_state_dict(state)
        parts.append(ids_of(resumed))
    together = [[one for share in own for one in share] for own in zip(*parts, strict=True)]
    assert together == whole[stop:]


def test_resuming_reads_no_block_but_its_own(stored, monkeypatch):
    """At once: the batches before the state are neither read nor made."""
    load, loads = TokenBatches._load, []

    def counted(batches, take):
        loads.append(take.window)
        return load(batches, take)

    monkeypatch.setattr(TokenBatches, "_load", counted)
    ahead = Prefetch(batches=0, window_bytes=0)
    batches = bucketed(opened(stored), prefetch=ahead)
    number = len(list(batches)) - 1
    every = len(set(loads))
    loads.clear()
    resumed = bucketed(opened(stored), prefetch=ahead)
    resumed.load_state_dict(resumed.state_dict() | {"batch": number})
    assert len(list(resumed)) == 1
    assert len(set(loads)) < every / 2


@pytest.mark.slow
def test_a_loaders_state_goes_on_with_other_workers(stored):
    expected = ids_of(bucketed(opened(stored)))
    loader = TokenLoader(bucketed(opened(stored)), num_workers=2)
    seen = ids_of(islice(iter(loader), 4))
    resumed = TokenLoader(bucketed(opened(stored)), num_workers=1)
    resumed.load_state_dict(loader.state_dict())
    assert seen + ids_of(resumed) == expected


def test_states_of_other_buckets_are_refused(stored):
    dataset = opened(stored)
    every = [
        bucketed(dataset),
        bucketed(dataset, batch_size=2),
        bucketed(dataset, GridBuckets(Padding())),
        bucketed(dataset, GridBuckets(FrameWindows(1))),
        bucketed(dataset, GridBuckets(FrameWindows(1, unit="frames"))),
        bucketed(dataset, GridBuckets(tokens_per_batch=50), batch_size=None),
        bucketed(dataset, GridBuckets(tokens_per_batch=51), batch_size=None),
        bucketed(dataset, lanes=2),
        bucketed(dataset, window_bytes=600),
        bucketed(dataset, remainder="pad"),
        bucketed(dataset, shuffle=False),
    ]
    for one in every:
        for other in every:
            if one is not other:
                with pytest.raises(UsageError, match="The state belongs to other batches"):
                    other.load_state_dict(one.state_dict())


def test_batches_say_what_they_are(stored):
    dataset = opened(stored)
    assert repr(bucketed(dataset)) == (
        "<TokenBatches of 3 samples, GridBuckets(samples=Clips(), tokens_per_batch=None), shuffled by "
        f"seed 0, at epoch 0, batch 0: {dataset!r}>"
    )
    assert repr(bucketed(dataset, GridBuckets(tokens_per_batch=64), batch_size=None)).startswith(
        "<TokenBatches, GridBuckets(samples=Clips(), tokens_per_batch=64), shuffled"
    )


# What cannot be


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (GridBuckets(tokens_per_batch=64), {"batch_size": 4}, "either batch_size or shape=GridBuckets"),
        (GridBuckets(), {}, "either batch_size or shape=GridBuckets"),
        (Clips(), {}, "either batch_size or shape=GridBuckets"),
        (GridBuckets(), {"batch_size": 0}, r"batch_size \(0\) must be at least 1"),
        (GridBuckets(FrameWindows(9)), {"batch_size": 2}, "No clip has 9 frames; the longest has 4"),
        (GridBuckets(Padding(3)), {"batch_size": 2}, r"more than Padding\(3\) allows"),
        (
            GridBuckets(),
            {"batch_size": 15},
            r"would leave out all samples of 6 grids: 1×4×2 \(7 samples, 15 a batch\), .*Use remainder",
        ),
    ],
)
def test_impossible_options_are_refused(stored, shape, options, message):
    with pytest.raises(UsageError, match=message):
        TokenBatches(opened(stored), shape=shape, **options)


def test_a_mixture_is_refused(stored):
    with pytest.raises(UsageError, match=r"GridBuckets takes one TokenDataset .*not a mixture"):
        TokenBatches([(opened(stored), 1.0)], batch_size=2, shape=GridBuckets())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GridBuckets(Packing(4)), "Packing mixes grids by itself"),
        (lambda: GridBuckets(Padding), "GridBuckets takes Clips"),
        (lambda: GridBuckets(tokens_per_batch=0), "at least 1 token per batch"),
    ],
)
def test_impossible_buckets_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_a_rank_that_there_is_not_is_refused(stored):
    with pytest.raises(UsageError, match="There is no rank 2 of 2 ranks"):
        next(iter(bucketed(opened(stored), rank=2, world_size=2)))


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        (Clips(), r"Use shape=GridBuckets\(\) for batches of one shape each"),
        (Padding(), r"Use shape=GridBuckets\(Padding\(num_frames=None\)\)"),
        (FrameWindows(2), r"Use shape=GridBuckets\(FrameWindows\(num_frames=2, stride=None\)\)"),
    ],
)
def test_shapes_of_one_grid_name_the_one_of_several(stored, shape, advice):
    with pytest.raises(UsageError, match=advice):
        TokenBatches(opened(stored), batch_size=2, shape=shape)
    with pytest.raises(UsageError, match=advice):
        TokenBatches([(opened(stored), 1.0)], batch_size=2, shape=shape)
