"""Describes packed rows for training: documents, their bounds, positions, special tokens."""

from collections.abc import Sequence
from math import prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from bitmill.pipeline.reading.index.index import Int32s, scales_of
from bitmill.pipeline.reading.samples.sample_shapes import Packing
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.compiled_code.numba_compile import compiled
from bitmill.schemas.models.geometry import Geometry


def describe_rows(
    placed: Sequence[Any],
    shape: Packing,
    num_rows: int,
    flat: npt.NDArray[Any],
    specials: tuple[int, int] | None,
) -> dict[str, Any]:
    """Tensors for packed rows of K places with ``tokens`` [B, K, …]; ``placed`` are windows' pieces.

    - ``document_ids`` int32 [B, K]: the number of the place's document within its row; -1 if unfilled.
    - ``positions`` int32 [B, K, 3]: frame in the clip, row and column of the token; -1 in the latter two at a
      special token, in all three if unfilled. Of pyramids, those in the grid of the token's scale.
    - ``scales`` int32 [B, K] and ``scale_grids`` int32 [B, K, 3], of pyramids alone: the number of the
      token's scale, and the grid t, h, w of that scale; -1 where there is no token of a clip.
    - ``cu_seqlens`` int32 [D + 1]: bounds of all documents over the B·K places laid end to end, as used by
      variable-length attention; each row's unfilled end counts as a document, so that they cover all places.
    - ``max_seqlen``: the length of the longest of those, an int.

    With start tokens, writes them into ``flat`` [B·K, G]: ``specials`` are the tokens of a clip and of a
    frame.
    """
    places = num_rows * shape.num_tokens
    documents = np.full(places, -1, np.int32)
    positions = np.full((places, 3), -1, np.int32)
    starts, times, grids, owners = _documents(placed, shape)
    frame_places = shape.frame_tokens(grids) + int(shape.start_tokens)
    more: dict[str, Any] = {}
    if shape.pyramid is None:
        _place(starts, times, grids, int(shape.start_tokens), positions)
    else:
        more = _place_scales(starts, grids, shape, positions, num_rows)
    lengths = times[:, 1] * frame_places
    if shape.start_tokens and specials is not None:
        _mark(starts, times, frame_places, specials, flat)
    _number(owners, starts, lengths, documents)
    edges = (starts, starts + lengths, np.arange(num_rows + 1) * shape.num_tokens)
    bounds = np.unique(np.concatenate(edges)).astype(np.int32)
    return {
        "document_ids": torch.from_numpy(documents.reshape(num_rows, shape.num_tokens)),
        "positions": torch.from_numpy(positions.reshape(num_rows, shape.num_tokens, 3)),
        "cu_seqlens": torch.from_numpy(bounds),
        "max_seqlen": int(np.diff(bounds).max(initial=0)),
        **more,
    }


def token_times(placed: Sequence[Any], shape: Packing, num_rows: int, geometry: Geometry) -> torch.Tensor:
    """When each token's frame is shown, int64 [B, K], nanoseconds in the source's own clock; -1 if unfilled.

    A token row of several frames has the time of the first one; rows of frames that only pad the clip have
    that of its last frame. A special token has the time of what follows it.
    """
    times = np.full(num_rows * shape.num_tokens, -1, np.int64)
    for one in placed:
        shown, begins = one.window.presentation
        clips = one.window.clips_of(one.pieces)
        _fill_times(
            one.window.places_of(one.pieces) + one.owners * shape.num_tokens,
            _frames(one, shape),
            shape.frame_tokens(one.window.grids_of(one.pieces)) + int(shape.start_tokens),
            shown,
            begins[clips],
            begins[clips + 1],
            geometry.lead_frames,
            geometry.frames_per_token,
            times,
        )
    return torch.from_numpy(times.reshape(num_rows, shape.num_tokens))


def frame_by_frame(unpacking_P4: Int64s, frame_tokens: Int64s) -> Int64s:
    """Split pieces into frames and leave one place free before each: int64 [num_frames, 4]."""
    frames = unpacking_P4[:, 2] // frame_tokens
    again = np.repeat(unpacking_P4, frames, axis=0)
    grid = np.repeat(frame_tokens, frames)
    number = np.arange(len(again)) - np.repeat(np.cumsum(frames) - frames, frames)
    again[:, 1] += number * grid
    again[:, 2] = grid
    again[:, 3] += number * (grid + 1) + 1
    return again


def _documents(placed: Sequence[Any], shape: Packing) -> tuple[Int64s, Int64s, Int64s, Int64s]:
    """All documents sorted by place: first places over all rows, frames [n, 2], grids [n, 2], rows."""
    if not placed:
        none, pairs = np.empty(0, np.int64), np.empty((0, 2), np.int64)
        return none, pairs, pairs, none
    owners = np.concatenate([one.owners for one in placed])
    starts = np.concatenate([one.window.places_of(one.pieces) for one in placed]) + owners * shape.num_tokens
    times = np.concatenate([_frames(one, shape) for one in placed])
    grids = np.concatenate([one.window.grids_of(one.pieces) for one in placed])
    order = np.argsort(starts, kind="stable")
    return starts[order], times[order], grids[order], owners[order]


def _frames(one: Any, shape: Packing) -> Int64s:
    """First frame and number of frames of pieces, int64 [n, 2]; a pyramid is one frame."""
    times = one.window.times_of(one.pieces)
    return times if shape.pyramid is None else np.tile(np.array([0, 1]), (len(times), 1))


def _place_scales(
    starts: Int64s, grids: Int64s, shape: Packing, positions: Int32s, num_rows: int
) -> dict[str, Any]:
    """Write the positions of pyramids' tokens in their scales; returns the further keys of a batch."""
    scales = np.full(len(positions), -1, np.int32)
    scale_grids = np.full((len(positions), 3), -1, np.int32)
    if shape.start_tokens:
        positions[starts, 0] = 0
    for start, (height, width) in zip(starts + int(shape.start_tokens), grids.tolist(), strict=True):
        place = int(start)
        for number, grid in enumerate(scales_of((1, height, width), cast(Geometry, shape.pyramid))):
            end = place + prod(grid)
            positions[place:end] = np.indices(grid).reshape(3, -1).T
            scales[place:end], scale_grids[place:end] = number, grid
            place = end
    return {
        "scales": torch.from_numpy(scales.reshape(num_rows, -1)),
        "scale_grids": torch.from_numpy(scale_grids.reshape(num_rows, -1, 3)),
    }


def _mark(
    starts: Int64s, times: Int64s, frame_places: Int64s, specials: tuple[int, int], flat: npt.NDArray[Any]
) -> None:
    frames = times[:, 1]
    number = np.arange(int(frames.sum())) - np.repeat(np.cumsum(frames) - frames, frames)
    marks = np.repeat(starts, frames) + number * np.repeat(frame_places, frames)
    begins = np.repeat(times[:, 0], frames) + number == 0
    flat[marks] = np.where(begins, specials[0], specials[1])[:, None]


@compiled
def _number(rows: Any, starts: Any, lengths: Any, documents: Any) -> None:
    number = 0
    for document in range(len(rows)):
        number = number + 1 if document and rows[document] == rows[document - 1] else 0
        documents[starts[document] : starts[document] + lengths[document]] = number


@compiled
def _place(starts: Any, times: Any, grids: Any, special: int, positions: Any) -> None:
    for document in range(len(starts)):
        place = starts[document]
        for frame in range(times[document, 0], times[document, 0] + times[document, 1]):
            if special:
                positions[place, 0] = frame
                place += 1
            for row in range(grids[document, 0]):
                for column in range(grids[document, 1]):
                    positions[place, 0] = frame
                    positions[place, 1] = row
                    positions[place, 2] = column
                    place += 1


@compiled
def _fill_times(  # noqa: PLR0917 - compiled code takes no keywords
    starts: Any,
    rows: Any,
    row_tokens: Any,
    shown: Any,
    begins: Any,
    ends: Any,
    lead: int,
    frames_per_token: int,
    times: Any,
) -> None:
    for document in range(len(starts)):
        place = starts[document]
        for row in range(rows[document, 0], rows[document, 0] + rows[document, 1]):
            frame = begins[document] + max(0, lead + (row - lead) * frames_per_token)
            times[place : place + row_tokens[document]] = shown[min(frame, ends[document] - 1)]
            place += row_tokens[document]
