"""TokenBatches on small datasets: views, shapes, columns, damage, remainders, states, refused options."""

import json
import sys
from collections import Counter
from itertools import islice

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from bitmill.pipeline.reading import (
    ClipFilter,
    Clips,
    FrameWindows,
    Packing,
    Padding,
    Prefetch,
    TokenBatches,
    TokenDataset,
    TokenLoader,
)
from bitmill.schemas.dataset.packing import unpack_groups, unpack_integers, unpack_values
from bitmill.schemas.errors import FormatError, UsageError, WrongArgumentError
from tests.support.coded_datasets import GEOMETRIES
from tests.support.commands import WITH_TESTS, finish
from tests.support.readers import write_odd_dataset
from tests.support.token_datasets import StoredDataset, store_dataset

ALIKE = [[(2, 2, 3)] * 9, [(2, 2, 3)] * 5, [], [(2, 2, 3)] * 7]
MIXED = [[(4, 2, 2), (1, 2, 2), (3, 2, 2)] * 3, [], [(2, 2, 2), (4, 2, 2)] * 4]


@pytest.fixture
def mixed(tmp_path) -> StoredDataset:
    return store_dataset(tmp_path / "mixed", MIXED)


def ids_of(batches, *, valid_only: bool = False) -> list[list[str]]:
    return [
        [
            clip_id
            for clip_id, valid in zip(batch["clip_id"], batch["valid"].tolist(), strict=True)
            if valid or not valid_only
        ]
        for batch in batches
    ]


# Views and columns


@pytest.mark.slow
@pytest.mark.parametrize("bits", [12, 18, 36, 64])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_every_view_holds_what_was_written(tmp_path, bits, shuffle, compression):
    stored = store_dataset(tmp_path, ALIKE, bits_per_token=bits, compression=compression)
    rows = {row.clip_id: row for row in stored.clips}
    clip = (12, bits)
    views = {
        ("bits", None): (torch.bool, stored.codes),
        ("values", None): (torch.float32, lambda row: unpack_values(row.codes, *clip)),
        ("groups", bits // 2): (torch.int64, lambda row: unpack_groups(row.codes, *clip, bits // 2)),
        ("packed", None): (torch.uint8, lambda row: np.frombuffer(row.codes, np.uint8)),
    }
    if bits < 64:
        views["integers", None] = (torch.int64, lambda row: unpack_integers(row.codes, *clip))
    for (view, group_bits), (dtype, expected) in views.items():
        dataset = TokenDataset(tmp_path, view=view, group_bits=group_bits, columns=("clip_id",))
        seen = 0
        for batch in TokenBatches(dataset, batch_size=4, shuffle=shuffle, window_bytes=400):
            assert batch["tokens"].dtype == dtype
            for clip_id, tokens in zip(batch["clip_id"], batch["tokens"], strict=True):
                if view != "packed":
                    assert tokens.shape[:3] == (2, 2, 3)
                assert np.array_equal(tokens.numpy().reshape(-1), expected(rows[clip_id]).reshape(-1))
                seen += 1
        assert seen == 20


def test_columns_are_tensors_of_numbers_and_lists_of_all_else(mixed):
    names = ("num_frames", "fps", "source", "key", "metadata", "start_ns", "frame_pts_ns")
    dataset = TokenDataset(mixed.folder, columns=names)
    batches = list(TokenBatches(dataset, batch_size=2, shape=Padding(), remainder="keep"))
    rows = mixed.clips
    for number, batch in enumerate(batches):
        own = rows[2 * number : 2 * number + 2]
        for name in ("num_frames", "start_ns"):
            assert batch[name].dtype == torch.int64
            assert batch[name].tolist() == [getattr(row, name) for row in own]
        # An image has no rate: the type does not depend on what a batch holds.
        assert batch["fps"].dtype == torch.float64
        assert torch.equal(batch["fps"].isnan(), torch.tensor([row.fps is None for row in own]))
        for name in ("source", "key", "metadata", "frame_pts_ns"):
            assert batch[name] == [getattr(row, name) for row in own]
    assert {row.fps for row in rows} == {None, 8.0}


def test_columns_of_packed_rows_are_lists_of_their_documents(mixed):
    dataset = TokenDataset(mixed.folder, columns=("clip_id", "num_frames"))
    for batch in TokenBatches(dataset, batch_size=1, shape=Packing(40), shuffle=True, remainder="keep"):
        (ids,), (frames,) = batch["clip_id"], batch["num_frames"]
        assert len(ids) == len(frames) == int(batch["document_ids"].max()) + 1
        assert frames == [row.num_frames for clip_id in ids for row in mixed.clips if row.clip_id == clip_id]


# Shapes


def test_clips_of_several_shapes_do_not_stack(mixed):
    dataset = TokenDataset(mixed.folder)
    message = r"The clips have 4 shapes \(1×2×2, 2×2×2, 3×2×2, 4×2×2\), which cannot be stacked\. Use "
    for shape in (None, Clips()):
        with pytest.raises(UsageError, match=message):
            TokenBatches(dataset, batch_size=2, shape=shape)
    four = TokenDataset(mixed.folder, where=ClipFilter(min_frames=4))
    assert [batch["tokens"].shape for batch in TokenBatches(four, batch_size=7)] == [(7, 4, 2, 2, 18)]


@pytest.mark.parametrize("stride", [None, 1, 3])
def test_windows_of_frames_are_slices_of_their_clips(mixed, stride):
    dataset = TokenDataset(mixed.folder, columns=("clip_id",))
    batches = TokenBatches(dataset, batch_size=1, shape=FrameWindows(2, stride))
    seen = [(batch["clip_id"][0], batch["tokens"][0].numpy()) for batch in batches]
    expected = [
        (row.clip_id, mixed.codes(row)[first : first + 2])
        for row in mixed.clips
        for first in range(0, row.num_frames - 1, stride or 2)
    ]
    assert len(seen) == len(expected)
    for (clip_id, tokens), (own_id, bits) in zip(seen, expected, strict=True):
        assert clip_id == own_id
        assert np.array_equal(tokens, bits)


def test_padding_is_masked_and_zero(mixed):
    dataset = TokenDataset(mixed.folder, columns=("num_frames", "clip_id"))
    for longest, shape in ((4, Padding()), (6, Padding(6))):
        for batch in TokenBatches(dataset, batch_size=4, shuffle=True, shape=shape):
            assert batch["tokens"].shape == (4, longest, 2, 2, 18)
            assert batch["mask"].sum(1).tolist() == batch["num_frames"].tolist()
            assert not batch["tokens"][~batch["mask"]].any()
            for tokens, mask, clip_id in zip(batch["tokens"], batch["mask"], batch["clip_id"], strict=True):
                (row,) = [row for row in mixed.clips if row.clip_id == clip_id]
                assert np.array_equal(tokens[mask].numpy(), mixed.codes(row))


@pytest.mark.parametrize("start_tokens", [False, True])
def test_packed_rows_hold_every_token_of_every_clip(mixed, start_tokens):
    """Clips longer than a row, too; each in the place that its positions say."""
    dataset = TokenDataset(mixed.folder, view="integers", columns=("clip_id",))
    shape = Packing(13, start_tokens=start_tokens)
    clips = {row.clip_id: unpack_integers(row.codes, row.num_frames * 4, 18) for row in mixed.clips}
    missing = {clip_id: set(range(len(tokens))) for clip_id, tokens in clips.items()}
    for batch in TokenBatches(dataset, batch_size=2, shuffle=True, shape=shape, remainder="keep"):
        for row, ids in enumerate(batch["clip_id"]):
            for place in range(13):
                document = int(batch["document_ids"][row, place])
                frame, height, width = batch["positions"][row, place].tolist()
                token = int(batch["tokens"][row, place])
                if document < 0:
                    assert (frame, height, width, token) == (-1, -1, -1, 0)
                elif height < 0:
                    assert start_tokens
                    assert token == 2**18 + (frame > 0)
                else:
                    at = frame * 4 + height * 2 + width
                    missing[ids[document]].remove(at)
                    assert token == clips[ids[document]][at]
    assert not any(missing.values())


@pytest.mark.parametrize("start_tokens", [False, True])
def test_packed_tokens_have_positions_and_times_whatever_their_grid(tmp_path, start_tokens):
    """Rows of 4 frames after a lead frame; the last ones may only repeat the last real frame."""
    shapes = [[(3, 2, 4), (5, 4, 2)] * 3, [], [(1, 3, 3), (4, 2, 4)] * 4]
    stored = store_dataset(tmp_path, shapes, geometry=GEOMETRIES["index"])
    rows = {row.clip_id: row for row in stored.clips}
    dataset = TokenDataset(tmp_path, view="integers", columns=("clip_id",))
    shape = Packing(41, start_tokens=start_tokens, times=True)
    places = 0
    for batch in TokenBatches(dataset, batch_size=2, shuffle=True, shape=shape, remainder="keep"):
        assert (batch["times_ns"].dtype, batch["times_ns"].shape) == (torch.int64, batch["tokens"].shape[:2])
        assert set(batch) >= {"clip_id", "positions"}
        assert "frame_pts_ns" not in batch
        for row, ids in enumerate(batch["clip_id"]):
            for place, document in enumerate(batch["document_ids"][row].tolist()):
                time = int(batch["times_ns"][row, place])
                if document < 0:
                    assert time == -1
                    continue
                clip = rows[ids[document]]
                frame, height, width = batch["positions"][row, place].tolist()
                first = 1 + (frame - 1) * 4 if frame else 0
                assert time == clip.frame_pts_ns[min(first, len(clip.frame_pts_ns) - 1)]
                if height >= 0:
                    codes = stored.codes(clip)[frame, height, width]
                    assert int(batch["tokens"][row, place]) == int(codes[0])
                    places += 1
    assert places == sum(row.num_frames * row.height * row.width for row in stored.clips)


def test_times_change_nothing_of_the_order(mixed):
    dataset = TokenDataset(mixed.folder)
    one, other = (
        TokenBatches(dataset, batch_size=2, shape=Packing(40, times=times)) for times in (False, True)
    )
    other.load_state_dict(one.state_dict())
    assert "times_ns" not in next(iter(one))


# Epochs


@pytest.mark.parametrize("shape", [Padding(), FrameWindows(1), Packing(20)])
@pytest.mark.parametrize("remainder", ["drop", "pad", "keep"])
@pytest.mark.parametrize("world_size", [2, 6])
def test_ranks_have_together_what_one_has(mixed, shape, remainder, world_size):
    dataset = TokenDataset(mixed.folder, columns=("clip_id",))
    options = {"batch_size": 12, "shuffle": True, "shape": shape, "remainder": remainder, "window_bytes": 200}
    alone = list(TokenBatches(dataset, **options))
    parts = [
        list(TokenBatches(dataset, rank=rank, world_size=world_size, **options)) for rank in range(world_size)
    ]
    for number, batch in enumerate(alone):
        own = [part[number] for part in parts]
        for name in ("tokens", "valid"):
            assert torch.equal(torch.cat([one[name] for one in own]), batch[name])
        assert [clip_id for one in own for clip_id in one["clip_id"]] == batch["clip_id"]
    assert {len(part) for part in parts} == {len(alone)}


def test_an_epoch_after_the_other(mixed):
    dataset = TokenDataset(mixed.folder, columns=("clip_id",))
    batches = TokenBatches(dataset, batch_size=4, shuffle=True, shape=Padding(), seed=3)
    epochs = [ids_of(batches) for _ in range(3)]
    assert batches.epoch == 3
    assert all(len({clip_id for batch in epoch for clip_id in batch}) == 16 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    # Others are left out each time; with another seed all is another order.
    assert len({clip_id for epoch in epochs for batch in epoch for clip_id in batch}) == 17
    other = TokenBatches(dataset, batch_size=4, shuffle=True, shape=Padding(), seed=4)
    assert ids_of(other) != epochs[0]


def test_golden_order(tmp_path):
    """What a run of months depends on: other numbers here are another order for every dataset."""
    stored = store_dataset(tmp_path, [[(1, 2, 2)] * 10] * 3, row_group_bytes=30)
    places = {row.clip_id: place for place, row in enumerate(stored.clips)}
    dataset = TokenDataset(tmp_path, columns=("clip_id",))
    # A window is a row group, so that what pages' headers take does not matter.
    batches = TokenBatches(dataset, batch_size=6, shuffle=True, seed=1, lanes=3, window_bytes=60)
    assert [[places[clip_id] for clip_id in batch] for batch in ids_of(batches)] == [
        [9, 8, 21, 23, 29, 28],
        [24, 27, 20, 22, 4, 6],
        [25, 26, 18, 19, 7, 5],
        [10, 11, 16, 15, 1, 3],
        [13, 12, 14, 17, 0, 2],
    ]


def test_read_ahead_changes_nothing(mixed):
    dataset = TokenDataset(mixed.folder, columns=("clip_id",))
    options = {"batch_size": 3, "shuffle": True, "shape": Padding(), "window_bytes": 200}
    expected = ids_of(TokenBatches(dataset, **options))
    for prefetch in (
        Prefetch(batches=0, window_bytes=0, threads=1, read_threads=1),
        Prefetch(batches=50, window_bytes=2**30, threads=8, read_threads=8),
    ):
        assert ids_of(TokenBatches(dataset, prefetch=prefetch, **options)) == expected


def test_batches_that_are_kept_keep_their_tokens(tmp_path):
    """Buffers are used again, but never under a tensor that somebody holds."""
    store_dataset(tmp_path, [[(2, 2, 3)] * 40])
    dataset = TokenDataset(tmp_path, view="integers", columns=("start_ns",))
    whole = TokenDataset(tmp_path, view="integers")
    kept = [(batch["start_ns"], batch["tokens"][1:]) for batch in TokenBatches(dataset, batch_size=4)]
    for _ in range(3):
        list(TokenBatches(dataset, batch_size=4))
    for starts, tokens in kept:
        for start, own in zip(starts[1:].tolist(), tokens, strict=True):
            assert torch.equal(own, whole[start // 10**9]["tokens"])


# Damage


@pytest.fixture
def damaged(tmp_path) -> tuple[StoredDataset, set[str]]:
    """A dataset with a flipped bit in a row group of a shard, and the ids of that row group's clips."""
    stored = store_dataset(tmp_path / "damaged", MIXED, row_group_bytes=60)
    lost = stored.rows[2][3:6]
    group = pq.ParquetFile(stored.path(2)).read_row_group(1, columns=["clip_id"])
    assert group.column("clip_id").to_pylist() == [row.clip_id for row in lost]
    data = bytearray(stored.path(2).read_bytes())
    data[bytes(data).index(lost[1].codes) + 5] ^= 8
    stored.path(2).write_bytes(bytes(data))
    return stored, {row.clip_id for row in lost}


@pytest.mark.parametrize("shape", [Padding(), FrameWindows(1)])
@pytest.mark.parametrize("view", ["bits", "values", "integers"])
def test_damaged_clips_are_not_valid_and_all_else_is_there(damaged, shape, view):
    stored, lost = damaged
    columns = ("clip_id", "num_frames", "fps", "source")
    dataset = TokenDataset(stored.folder, view=view, columns=columns, skip_damaged=True)
    whole = store_dataset(stored.folder.parent / "whole", MIXED, row_group_bytes=60)
    sound = TokenDataset(whole.folder, view=view, columns=columns)
    options = {"batch_size": 3, "shuffle": True, "shape": shape, "window_bytes": 150, "remainder": "keep"}
    seen = set()
    for batch, expected in zip(TokenBatches(dataset, **options), TokenBatches(sound, **options), strict=True):
        valid = torch.tensor([clip_id not in lost for clip_id in expected["clip_id"]])
        assert torch.equal(batch["valid"], valid)
        assert torch.equal(batch["tokens"][valid], expected["tokens"][valid])
        # Nothing that the buffer held before, and no index outside its range.
        assert not batch["tokens"][~valid].any()
        assert batch["num_frames"].dtype == torch.int64
        assert torch.equal(batch["num_frames"][valid], expected["num_frames"][valid])
        if isinstance(shape, Padding):
            assert torch.equal(batch["mask"][valid], expected["mask"][valid])
            assert not batch["mask"][~valid].any()
        ids = [clip_id for clip_id in batch["clip_id"] if clip_id is not None]
        assert ids == [clip_id for clip_id in expected["clip_id"] if clip_id not in lost]
        seen |= set(ids)
    assert seen == {row.clip_id for row in stored.clips} - lost


def test_damaged_documents_of_packed_rows_are_places_that_are_not_filled(damaged):
    stored, lost = damaged
    dataset = TokenDataset(stored.folder, view="integers", columns=("clip_id",), skip_damaged=True)
    seen: list[str] = []
    places = 0
    for batch in TokenBatches(dataset, batch_size=1, shape=Packing(40), shuffle=True, remainder="keep"):
        seen += batch["clip_id"][0]
        filled = batch["document_ids"] >= 0
        places += int(filled.sum())
        assert not batch["tokens"][~filled].any()
        assert int(batch["document_ids"].max()) + 1 == len(batch["clip_id"][0])
        assert int(batch["cu_seqlens"][-1]) == 40
    assert sorted(seen) == sorted({row.clip_id for row in stored.clips} - lost)
    assert places == sum(row.num_frames * 4 for row in stored.clips if row.clip_id not in lost)


def test_damage_is_an_error_unless_it_is_skipped(damaged):
    stored, _ = damaged
    batches = TokenBatches(TokenDataset(stored.folder), batch_size=3, shape=Padding())
    with pytest.raises(FormatError, match=rf"{stored.shards[2].shard_id}\.parquet is damaged in row group 1"):
        list(batches)


def test_what_is_not_verified_is_taken_as_it_is(damaged):
    """A flipped bit among codes shows only in the checksum; lengths and padding are always looked at."""
    stored, lost = damaged
    for skip in (False, True):
        dataset = TokenDataset(stored.folder, columns=("clip_id",), verify="never", skip_damaged=skip)
        wrong = []
        for batch in TokenBatches(dataset, batch_size=17, shape=Padding()):
            assert batch["valid"].all()
            for clip_id, tokens, mask in zip(batch["clip_id"], batch["tokens"], batch["mask"], strict=True):
                (row,) = [row for row in stored.clips if row.clip_id == clip_id]
                wrong += [clip_id] * int((tokens[mask].numpy() != stored.codes(row)).sum())
        assert len(wrong) == 1
        assert wrong[0] in lost


# States


def test_a_state_is_a_few_integers_that_json_holds(mixed):
    batches = TokenBatches(TokenDataset(mixed.folder), batch_size=3, shape=Padding(), shuffle=True, seed=9)
    iterator = iter(batches)
    next(iterator)
    next(iterator)
    state = batches.state_dict()
    assert state == {"seed": 9, "order": state["order"], "epoch": 0, "batch": 2}
    assert all(type(value) is int for value in state.values())
    assert 0 <= state["order"] < 2**63
    assert json.loads(json.dumps(state)) == state


@pytest.mark.parametrize("stop", range(6))
def test_a_state_goes_on_where_it_was_taken(mixed, stop):
    def make(**more):
        dataset = TokenDataset(mixed.folder, columns=("clip_id",))
        return TokenBatches(dataset, batch_size=4, shape=Padding(), shuffle=True, window_bytes=200, **more)

    whole = make()
    expected = ids_of(whole) + ids_of(whole)
    batches = make()
    seen: list[list[str]] = []
    while len(seen) < stop:
        for batch in batches:
            seen += ids_of([batch])
            if len(seen) == stop:
                break
    assert seen == expected[:stop]
    resumed = make()
    resumed.load_state_dict(json.loads(json.dumps(batches.state_dict())))
    assert len(resumed) == 4
    rest = ids_of(resumed)
    while len(rest) < len(expected) - stop:
        rest += ids_of(resumed)
    assert rest == expected[stop:]
    # Each of two ranks goes on with its half.
    halves = []
    for rank in range(2):
        half = make(rank=rank, world_size=2)
        half.load_state_dict(batches.state_dict())
        halves.append(ids_of(half))
    if stop % 4:
        assert [a + b for a, b in zip(*halves, strict=True)] == expected[stop : 4 * (stop // 4 + 1)]


# Iterations


def epochs_of(mixed: StoredDataset) -> tuple[TokenBatches, list[list[list[str]]]]:
    """Shuffled batches, four an epoch, and the ids of their first three epochs."""
    dataset = TokenDataset(mixed.folder, columns=("clip_id",))
    options = {"batch_size": 4, "shape": Padding(), "shuffle": True, "window_bytes": 200}
    whole = TokenBatches(dataset, **options)
    return TokenBatches(dataset, **options), [ids_of(whole) for _ in range(3)]


@pytest.mark.parametrize("taken", range(4))
def test_an_iteration_behind_a_break_begins_the_same_epoch_anew(mixed, taken):
    batches, epochs = epochs_of(mixed)
    for epoch in (0, 1):
        assert ids_of(islice(iter(batches), taken)) == epochs[epoch][:taken]
        assert batches.state_dict()["batch"] == taken
        assert batches.epoch == epoch
        assert ids_of(batches) == epochs[epoch]
    assert batches.epoch == 2


def test_a_look_at_the_first_batch_takes_nothing_from_training(mixed):
    batches, epochs = epochs_of(mixed)
    seen = []
    for epoch in range(batches.epoch, 3):
        assert ids_of([next(iter(batches))]) == epochs[epoch][:1]
        seen.append(ids_of(batches))
    assert seen == epochs


def test_whoever_takes_as_many_as_there_are_has_had_the_epoch(mixed):
    batches, epochs = epochs_of(mixed)
    for epoch in range(2):
        assert batches.epoch == epoch
        assert ids_of(islice(iter(batches), len(batches))) == epochs[epoch]
    assert batches.epoch == 2


def test_only_the_first_iteration_behind_a_state_goes_on_from_it(mixed):
    batches, epochs = epochs_of(mixed)
    batches.load_state_dict(batches.state_dict() | {"epoch": 1, "batch": 2})
    assert ids_of([next(iter(batches))]) == epochs[1][2:3]
    assert ids_of(batches) == epochs[1]
    assert ids_of(batches) == epochs[2]


def test_an_iterator_that_was_left_says_nothing_of_where_the_next_stands(mixed):
    batches, epochs = epochs_of(mixed)
    left = iter(batches)
    next(left)
    batches.set_epoch(2)
    assert ids_of([next(left)]) == epochs[0][1:2]
    assert batches.state_dict()["epoch"] == 2
    later = iter(batches)
    assert ids_of([next(later)]) == epochs[2][:1]
    assert ids_of(left) == epochs[0][2:]
    assert batches.state_dict() == batches.state_dict() | {"epoch": 2, "batch": 1}
    assert ids_of(later) == epochs[2][1:]


_LEFT_OPEN = """
import builtins, sys
from tests.support.readers import odd_batches

# Held until Python has taken most modules apart.
builtins.left = left = iter(odd_batches(sys.argv[1]))
next(left)
"""


@pytest.mark.slow
def test_an_iterator_that_is_open_at_the_end_prints_nothing(tmp_path):
    write_odd_dataset(str(tmp_path / "tokens"))
    (tmp_path / "left.py").write_text(_LEFT_OPEN)
    done = finish([sys.executable, str(tmp_path / "left.py"), str(tmp_path / "tokens")], extra=WITH_TESTS)
    assert (done.code, done.out, done.err) == (0, "", "")


def other_states(mixed: StoredDataset):
    """Batches that a state of the first must not be taken for."""
    dataset = TokenDataset(mixed.folder)
    same = {"batch_size": 4, "shape": Padding(), "shuffle": True}
    yield TokenBatches(dataset, **same)
    yield TokenBatches(dataset, **same | {"batch_size": 2})
    yield TokenBatches(dataset, **same | {"shape": Padding(5)})
    yield TokenBatches(dataset, **same | {"shape": FrameWindows(1)})
    yield TokenBatches(dataset, **same | {"shape": Packing(40)})
    yield TokenBatches(dataset, **same | {"shuffle": False})
    yield TokenBatches(dataset, **same, seed=1)
    yield TokenBatches(dataset, **same, lanes=2)
    yield TokenBatches(dataset, **same, window_bytes=300)
    yield TokenBatches(dataset, **same, remainder="pad")
    yield TokenBatches([(dataset, 1.0)], **same)
    yield TokenBatches([(dataset, 1.0)], **same, batches_per_epoch=3)
    yield TokenBatches([(dataset, 1.0), (dataset, 2.0)], **same)
    yield TokenBatches(TokenDataset([mixed.folder, mixed.folder]), **same)
    yield TokenBatches(TokenDataset(mixed.folder, where=ClipFilter(min_frames=2)), **same)
    yield TokenBatches(TokenDataset(mixed.folder, where=ClipFilter(max_frames=3)), **same)


def test_a_state_of_other_data_or_options_is_refused(mixed):
    every = list(other_states(mixed))
    for one in every:
        for other in every:
            if one is other:
                other.load_state_dict(one.state_dict())
                continue
            with pytest.raises(UsageError, match="The state belongs to other batches: the"):
                other.load_state_dict(one.state_dict())


def test_a_state_does_not_depend_on_how_a_sample_is_shown(mixed):
    """The view, columns, read-ahead and the rank change nothing of the order, and so may change."""
    same = {"batch_size": 4, "shape": Padding(), "shuffle": True}
    state = TokenBatches(TokenDataset(mixed.folder), **same).state_dict()
    dataset = TokenDataset(mixed.folder, view="integers", columns=("fps",), verify="always")
    other = TokenBatches(dataset, **same, prefetch=Prefetch(batches=1), rank=1, world_size=2)
    other.load_state_dict(state)
    assert other.state_dict() == state


def test_a_filter_that_takes_the_same_clips_has_the_same_state(mixed):
    same = {"batch_size": 4, "shape": Padding(), "shuffle": True}
    one, other = (
        TokenBatches(TokenDataset(mixed.folder, where=where), **same)
        for where in (ClipFilter(min_frames=2), ClipFilter(clip_ids=None, min_frames=2, max_frames=100))
    )
    other.load_state_dict(one.state_dict())


def test_a_workers_state_is_not_that_of_another(mixed):
    batches = TokenBatches(TokenDataset(mixed.folder), batch_size=4, shape=Padding())
    batches.load_state_dict(batches.state_dict() | {"batch": 1, "worker": 1, "num_workers": 2})
    with pytest.raises(UsageError, match="belongs to worker 1 of 2, not to worker 0 of 1"):
        next(iter(batches))


# Mixtures


def test_a_mixture_takes_from_each_dataset_by_weight(mixed, tmp_path):
    store_dataset(tmp_path / "other", [[(4, 2, 2)] * 6], seed=5)
    one = TokenDataset(mixed.folder, columns=("clip_id",))
    other = TokenDataset(tmp_path / "other", columns=("clip_id",))
    options = {"batch_size": 4, "shape": Padding(), "shuffle": True, "batches_per_epoch": 30, "lanes": 2}
    batches = TokenBatches([(one, 3), (other, 1)], **options)
    assert len(batches) == 30
    own = {row.clip_id for row in mixed.clips}
    epochs = [ids_of(batches), ids_of(batches)]
    flat = [clip_id for epoch in epochs for batch in epoch for clip_id in batch]
    assert abs(sum(clip_id in own for clip_id in flat) - 180) <= 8
    # Each goes through its own passes, whatever the epoch.
    for ids, total in ((own, 17), ({clip_id for clip_id in flat if clip_id not in own}, 6)):
        counts = [flat.count(clip_id) for clip_id in ids]
        assert len(counts) == total
        # Two lanes, of which each may be a pass ahead of the other.
        assert max(counts) - min(counts) <= 2
    resumed = TokenBatches([(one, 3.0), (other, 1.0)], **options)
    resumed.load_state_dict(resumed.state_dict() | {"epoch": 1, "batch": 7})
    assert ids_of(resumed) == epochs[1][7:]


def test_a_dataset_of_small_weight_is_not_read_over_and_over(tmp_path, monkeypatch):
    """Its windows stay while batches have no sample of them."""
    store_dataset(tmp_path / "large", [[(1, 2, 2)] * 300])
    store_dataset(tmp_path / "small", [[(1, 2, 2)] * 300], seed=1)
    loads: Counter[tuple[tuple[int, int], int]] = Counter()

    load = TokenBatches._load

    def counted(batches, take):
        loads[(take.stream, take.pass_number), take.window] += 1
        return load(batches, take)

    monkeypatch.setattr(TokenBatches, "_load", counted)
    large, small = TokenDataset(tmp_path / "large"), TokenDataset(tmp_path / "small")
    options = {"batch_size": 32, "shuffle": True, "lanes": 8, "window_bytes": 3000, "batches_per_epoch": 30}
    for _ in TokenBatches([(large, 0.93), (small, 0.07)], **options):
        pass
    # Where a lane ends in the window with which the next began, that window may be read again.
    assert max(loads.values()) <= 2
    assert sum(loads.values()) <= len(loads) + 8 * len({key for key, _ in loads})


def test_datasets_of_a_mixture_must_fit_together(mixed, tmp_path):
    store_dataset(tmp_path / "other", MIXED, tokenizer="e" * 32)
    dataset, same = TokenDataset(mixed.folder), {"batch_size": 4, "shape": Padding(), "shuffle": True}
    for other, message in (
        (TokenDataset(mixed.folder, view="integers"), "the same view, group_bits, scales and columns"),
        (TokenDataset(mixed.folder, columns=("fps",)), "the same view, group_bits, scales and columns"),
        (TokenDataset(tmp_path / "other"), f"must use one tokenizer, not {'f' * 32} and {'e' * 32}"),
    ):
        with pytest.raises(UsageError, match=message):
            TokenBatches([(dataset, 1.0), (other, 1.0)], **same)
    small = TokenDataset(mixed.folder, where=ClipFilter(clip_ids=[mixed.clips[0].clip_id]))
    with pytest.raises(UsageError, match="has 1 samples, fewer than the 4 lanes"):
        TokenBatches([(dataset, 1.0), (small, 1.0)], **same, lanes=4)


# What cannot be


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"batch_size \(0\) must be at least 1"),
        ({"batch_size": 6, "shuffle": True, "lanes": 4}, r"a multiple of lanes \(4\)"),
        ({"shuffle": True, "lanes": 0}, r"a multiple of lanes \(0\)"),
        ({"lanes": 2}, "lanes needs shuffle=True"),
        ({"remainder": "fill"}, "remainder must be drop, pad or keep, not 'fill'"),
        ({"batches_per_epoch": 3}, "batches_per_epoch needs a mixture"),
    ],
)
def test_impossible_options_are_refused(mixed, options, message):
    with pytest.raises(UsageError, match=message):
        TokenBatches(TokenDataset(mixed.folder), **{"batch_size": 4, "shape": Padding()} | options)


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ([], {}, "weights above 0"),
        ([0.0], {}, "weights above 0"),
        ([1.0, -1.0], {}, "weights above 0"),
        ([1.0, float("nan")], {}, "weights above 0"),
        ([1.0, float("inf")], {}, "weights above 0"),
        ([1.0], {"remainder": "keep"}, "A mixture never ends"),
        ([1.0], {"batches_per_epoch": 0}, "must be at least 1"),
    ],
)
def test_impossible_mixtures_are_refused(mixed, weights, options, message):
    dataset = TokenDataset(mixed.folder)
    with pytest.raises(UsageError, match=message):
        TokenBatches([(dataset, weight) for weight in weights], batch_size=4, shape=Padding(), **options)


@pytest.mark.parametrize(("rank", "world_size"), [(0, 3), (2, 2), (-1, 2), (0, 0)])
def test_a_batch_that_ranks_cannot_share_is_refused(mixed, rank, world_size):
    batches = TokenBatches(
        TokenDataset(mixed.folder), batch_size=4, shape=Padding(), rank=rank, world_size=world_size
    )
    with pytest.raises(UsageError, match=rf"cannot be split over {world_size} ranks \(rank {rank}\)"):
        next(iter(batches))


@pytest.mark.parametrize(
    ("view", "shape", "message"),
    [
        ({"view": "packed"}, Padding(), "The view 'packed' needs whole clips"),
        ({"view": "packed"}, FrameWindows(1), "The view 'packed' needs whole clips"),
        (
            {"view": "bits"},
            Packing(40, start_tokens=True),
            "start_tokens needs the view 'groups'",
        ),
        ({"view": "values"}, Packing(40, start_tokens=True), "start_tokens needs the view"),
    ],
)
def test_views_that_a_shape_cannot_have_are_refused(mixed, view, shape, message):
    with pytest.raises(UsageError, match=message):
        TokenBatches(TokenDataset(mixed.folder, **view), batch_size=4, shape=shape)


def test_wide_tokens_leave_no_room_for_start_tokens(tmp_path):
    store_dataset(tmp_path, MIXED[:1], bits_per_token=62, row_group_bytes=10**6)
    with pytest.raises(UsageError, match="of at most 61 bits"):
        TokenBatches(
            TokenDataset(tmp_path, view="integers"), batch_size=4, shape=Packing(40, start_tokens=True)
        )
    dataset = TokenDataset(tmp_path, view="groups", group_bits=31)
    (batch,) = TokenBatches(dataset, batch_size=1, shape=Packing(400, start_tokens=True), remainder="keep")
    assert batch["tokens"][0, 0].tolist() == [2**31, 2**31]


def test_batches_larger_than_an_epoch_are_refused(mixed):
    batches = TokenBatches(TokenDataset(mixed.folder), batch_size=100, shape=Padding())
    with pytest.raises(UsageError, match="An epoch has 17 samples, fewer than a batch of 100"):
        len(batches)
    (batch,) = TokenBatches(TokenDataset(mixed.folder), batch_size=100, shape=Padding(), remainder="pad")
    assert int(batch["valid"].sum()) == 17


# Wrong calls


def test_what_is_no_dataset_is_refused_by_name(mixed):
    dataset = TokenDataset(mixed.folder)
    for data in (str(mixed.folder), mixed.folder, [dataset], [(dataset, "half")], [(mixed.folder, 1.0)], 4):
        with pytest.raises(ValueError, match=r"takes a TokenDataset, or a list of \(TokenDataset, weight\)"):
            TokenBatches(data, batch_size=4, shape=Padding())


@pytest.mark.parametrize("shape", [4, Padding, "clips"])
def test_what_is_no_shape_is_refused_by_name(mixed, shape):
    with pytest.raises(
        ValueError,
        match=r"shape must be Clips\(\), FrameWindows\(n\), Padding\(\), Packing\(n\) or GridBuckets\(\)",
    ):
        TokenBatches(TokenDataset(mixed.folder), batch_size=4, shape=shape)


def test_what_is_no_state_is_refused_by_name(mixed):
    batches = TokenBatches(TokenDataset(mixed.folder), batch_size=4, shape=Padding())
    state = batches.state_dict()
    for wrong in ({}, {"seed": state["seed"], "order": state["order"]}, {"_snapshot": {}}):
        with pytest.raises(
            ValueError, match=r"not a state of TokenBatches; load what state_dict\(\) returned"
        ):
            batches.load_state_dict(wrong)
    assert batches.state_dict() == state


@pytest.mark.parametrize("options", [{}, {"batch_size": 4}, {"num_workers": 1}])
def test_a_loader_does_not_put_batches_together(mixed, options):
    dataset = TokenDataset(mixed.folder, columns=("clip_id",))
    batches = TokenBatches(dataset, batch_size=4, shape=Padding())
    batches.set_epoch(0)
    with pytest.raises(ValueError, match="already yields batches: pass batch_size=None to the DataLoader"):
        next(iter(DataLoader(batches, **options)))
    batches.set_epoch(0)
    whole = DataLoader(batches, **options | {"batch_size": None})
    assert ids_of(whole) == ids_of(TokenBatches(dataset, batch_size=4, shape=Padding()))


def test_a_loader_whose_order_no_state_tells_is_refused(mixed):
    batches = TokenBatches(TokenDataset(mixed.folder), batch_size=4, shape=Padding())
    with pytest.raises(WrongArgumentError, match="in_order=False hands batches over in any order"):
        TokenLoader(batches, num_workers=2, in_order=False)


def test_batches_say_what_they_are(mixed):
    dataset = TokenDataset(mixed.folder, view="integers")
    batches = TokenBatches(dataset, batch_size=4, shape=Padding(), shuffle=True, seed=9)
    next(iter(batches))
    assert repr(dataset) == f"<TokenDataset of 17 clips, 18 bits a token, integers: {mixed.folder}>"
    assert repr(batches) == (
        "<TokenBatches of 4 samples, Padding(num_frames=None), shuffled by seed 9, at epoch 0, batch 1: "
        f"{dataset!r}>"
    )
    assert f"0.5 of {dataset!r}, 2 of {dataset!r}>" in repr(
        TokenBatches([(dataset, 0.5), (dataset, 2)], batch_size=4, shape=Padding())
    )
