"""Every view of every kind of code, of single clips, in order and in batches; what a code does not have."""

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitmill.pipeline.reading import Clips, FrameWindows, Packing, Padding, TokenBatches, TokenDataset
from bitmill.schemas.dataset.packing import unpack_integers
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.models.geometry import Code, Geometry
from tests.support.token_datasets import StoredDataset, store_dataset

SHAPES = [[(2, 3, 5)] * 5, [(2, 3, 5)] * 3]
FSQ = Code.of_digits((8, 5, 5, 5))
INDEX = Code.of_index(1000)
WIDE = Code.of_bits(100, "least")
PYRAMID = {"2x2": ((1, 1, 1), (1, 2, 2)), "3x5": ((1, 1, 1), (1, 2, 3), (2, 3, 5))}


def stored(folder: Path, code: Code, shapes=SHAPES, **geometry: Any) -> StoredDataset:
    return store_dataset(folder, shapes, geometry=Geometry(patch_px=(8, 16), code=code, **geometry))


def expected(own: StoredDataset, view: str, row: Any):
    """A clip's tokens by ``schemas.dataset.packing``."""
    codes, code = own.codes(row), own.geometry.code
    if view in ("bits", "digits"):
        return codes
    if view == "values" and code.kind == "bits":
        return np.where(codes, 1, -1).astype(np.float32) * np.float32(1 / np.sqrt(code.bits_per_token))
    if view == "values":
        half = np.array(code.bases, np.float32) // 2
        return (codes - half) / half
    assert view == "integers"
    return unpack_integers(row.codes, prod(codes.shape[:-1]), code.bits_per_token).reshape(codes.shape[:-1])


def check(own: StoredDataset, view: str) -> None:
    """By number, in order, and in shuffled batches."""
    dataset = TokenDataset(own.folder, view=view, columns=("clip_id",))  # pyright: ignore[reportArgumentType]
    wanted = {row.clip_id: expected(own, view, row) for row in own.clips}
    samples = [*dataset, *(dataset[number] for number in range(len(dataset)))]
    for batch in TokenBatches(dataset, batch_size=3, shuffle=True, seed=1, remainder="keep"):
        samples += [
            {"clip_id": clip_id, "tokens": tokens}
            for clip_id, tokens in zip(batch["clip_id"], batch["tokens"], strict=True)
        ]
    assert len(samples) == 3 * len(own.clips)
    for sample in samples:
        assert np.array_equal(sample["tokens"].numpy(), wanted[sample["clip_id"]])


@pytest.mark.parametrize(
    ("code", "views"),
    [
        (FSQ, ("digits", "values", "integers")),
        (Code.of_digits((8, 5, 5, 5), "most"), ("digits", "values", "integers")),
        (INDEX, ("digits", "integers")),
        (WIDE, ("bits", "digits", "values")),
        (Code.of_bits(18, "least"), ("bits", "values", "integers")),
    ],
)
def test_every_view_has_what_was_stored(tmp_path, code, views):
    own = stored(tmp_path, code)
    for view in views:
        check(own, view)


def test_groups_of_wide_bits_have_their_dimensions_in_order(tmp_path):
    own = stored(tmp_path, WIDE)
    groups = TokenDataset(tmp_path, view="groups", group_bits=50)[2]["tokens"].numpy()
    runs = own.codes(own.clips[2]).reshape(2, 3, 5, 2, 50)
    assert np.array_equal(groups, (runs * (1 << np.arange(50))).sum(-1))


@pytest.mark.parametrize(
    ("code", "options", "message"),
    [
        (FSQ, {"view": "bits"}, "of kind 'digits', which have no view 'bits'; they have digits, values, int"),
        (FSQ, {"view": "groups", "group_bits": 5}, "of kind 'digits', which have no view 'groups'"),
        (
            INDEX,
            {"view": "values"},
            "of kind 'index', which have no view 'values'; they have digits, integers",
        ),
        (WIDE, {"view": "integers"}, "Tokens of 100 bits do not fit int64"),
        (WIDE, {"view": "groups", "group_bits": 100}, "needs group_bits that divide the 100 bits"),
        (INDEX, {"view": "digit"}, r"Unknown view 'digit' \(did you mean 'digits'\?\); choose bits, digits"),
    ],
)
def test_a_view_that_a_code_does_not_have_is_refused(tmp_path, code, options, message):
    stored(tmp_path, code)
    with pytest.raises(UsageError, match=message):
        TokenDataset(tmp_path, **options)


@pytest.mark.parametrize(("code", "view"), [(FSQ, "digits"), (INDEX, "digits"), (WIDE, "bits")])
def test_without_a_view_tokens_are_their_codes(tmp_path, code, view):
    stored(tmp_path, code)
    assert TokenDataset(tmp_path).view == view


@pytest.mark.parametrize(("code", "view"), [(FSQ, "integers"), (INDEX, "integers"), (INDEX, "digits")])
def test_start_tokens_are_the_first_integers_that_are_no_code(tmp_path, code, view):
    stored(tmp_path, code)
    batches = TokenBatches(
        TokenDataset(tmp_path, view=view),
        batch_size=1,
        shape=Packing(40, start_tokens=True),
        remainder="keep",
    )
    for batch in batches:
        tokens = batch["tokens"].reshape(-1)
        assert (tokens[0], tokens[16]) == (1000, 1001)
        assert (tokens > 999).sum() == 2


def test_digits_of_several_dimensions_have_no_start_tokens(tmp_path):
    stored(tmp_path, FSQ)
    with pytest.raises(
        UsageError, match="start_tokens needs the view 'groups' or 'integers', or 'digits' of an"
    ):
        TokenBatches(
            TokenDataset(tmp_path, view="digits"), batch_size=1, shape=Packing(40, start_tokens=True)
        )


def test_frames_of_a_shape_are_token_rows(tmp_path):
    own = stored(tmp_path, FSQ, [[(4, 3, 5), (2, 3, 5)]], frames_per_token=4, lead_frames=1)
    dataset = TokenDataset(tmp_path)
    (windows,) = TokenBatches(dataset, batch_size=3, shape=FrameWindows(2))
    codes = [own.codes(row) for row in own.clips]
    assert np.array_equal(windows["tokens"].numpy(), [codes[0][:2], codes[0][2:], codes[1]])
    (padded,) = TokenBatches(dataset, batch_size=2, shape=Padding())
    assert padded["mask"].sum(dim=1).tolist() == [4, 2]


@pytest.mark.parametrize("view", ["digits", "integers"])
def test_tokens_of_a_pyramid_are_all_grids_one_after_the_other(tmp_path, view):
    own = stored(tmp_path, FSQ, layout="pyramid", schedules=PYRAMID)
    check(own, view)
    assert TokenDataset(tmp_path, view=view)[0]["tokens"].shape[0] == 1 + 6 + 30


def test_pyramids_of_several_sizes_are_told_apart(tmp_path):
    own = stored(tmp_path, FSQ, [[(2, 3, 5), (1, 2, 2)], [(1, 2, 2)]], layout="pyramid", schedules=PYRAMID)
    dataset = TokenDataset(tmp_path)
    assert [sample["tokens"].shape[0] for sample in dataset] == [37, 5, 5]
    for number, row in enumerate(own.clips):
        assert torch.equal(dataset[number]["tokens"], torch.from_numpy(own.codes(row)))
    with pytest.raises(UsageError, match="The clips have 2 shapes"):
        TokenBatches(dataset, batch_size=1, shape=Clips())


@pytest.mark.parametrize("shape", [FrameWindows(1), Padding()])
def test_a_pyramid_has_no_frames_to_cut(tmp_path, shape):
    stored(tmp_path, FSQ, layout="pyramid", schedules=PYRAMID)
    with pytest.raises(UsageError, match="The tokens of a pyramid are not those of single frames"):
        TokenBatches(TokenDataset(tmp_path), batch_size=1, shape=shape)


def test_a_grid_without_a_schedule_is_a_sentence(tmp_path):
    stored(tmp_path, FSQ, layout="pyramid", schedules=PYRAMID)
    card = json.loads((tmp_path / "dataset.json").read_text())
    del card["geometry"]["schedules"]["3x5"]
    (tmp_path / "dataset.json").write_text(json.dumps(card))
    with pytest.raises(FormatError, match="has a token grid of 3×5, for which its pyramid has no schedule"):
        _ = TokenDataset(tmp_path)[0]
