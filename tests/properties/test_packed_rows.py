"""Laws of what is said of packed rows, against plain loops over their documents."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitmill.pipeline.reading.samples.packed_rows import describe_rows, frame_by_frame
from bitmill.pipeline.reading.samples.sample_shapes import Packing

SPECIALS = (900, 901)


@st.composite
def packed(draw: st.DrawFn):
    """Rows of random clips, split over a few windows' takes, some documents lost; and the plain documents."""
    shape = Packing(draw(st.integers(10, 40)), start_tokens=draw(st.booleans()))
    shapes = np.array(
        draw(
            st.lists(
                st.tuples(*[st.integers(1, 5), st.integers(1, 3), st.integers(1, 3)]), min_size=1, max_size=9
            )
        ),
        np.int64,
    )
    cut = shape.cut(shapes)
    owners = np.repeat(np.arange(cut.num_samples), np.diff(cut.sample_starts))
    window = SimpleNamespace(
        places_of=lambda pieces: cut.places[pieces],
        times_of=lambda pieces: np.stack((cut.first_frames, cut.num_frames), axis=1)[pieces],
        grids_of=lambda pieces: shapes[cut.clips[pieces], 1:],
    )
    kept = np.flatnonzero([draw(st.integers(0, 5)) > 0 for _ in owners])
    # Samples of the batch come from takes in any order of windows' samples.
    order = np.array(draw(st.permutations(range(cut.num_samples))), np.int64)
    split = draw(st.integers(0, cut.num_samples))
    placed = []
    for rows in (range(split), range(split, cut.num_samples)):
        pieces = np.array([piece for piece in kept if order[owners[piece]] in rows], np.int64)
        placed.append(SimpleNamespace(window=window, pieces=pieces, owners=order[owners[pieces]]))
    lying = np.column_stack(
        (order[owners], cut.places, cut.first_frames, cut.num_frames, shapes[cut.clips, 1:])
    )
    documents = sorted(map(tuple, lying[kept].tolist()))
    return shape, cut.num_samples, placed, documents


@given(packed())
def test_rows_are_described_as_their_documents_lie(case):
    shape, num_rows, placed, documents = case
    flat = np.zeros((num_rows * shape.num_tokens, 2), np.int64)
    said = describe_rows(placed, shape, num_rows, flat, SPECIALS)
    ids = np.full((num_rows, shape.num_tokens), -1)
    positions = np.full((num_rows, shape.num_tokens, 3), -1)
    tokens = np.zeros((num_rows, shape.num_tokens, 2), np.int64)
    edges = {row * shape.num_tokens for row in range(num_rows + 1)}
    for row, start, first, frames, height, width in documents:
        place = start
        number = int(ids[row].max()) + 1
        edges |= {row * shape.num_tokens + place}
        for frame in range(first, first + frames):
            if shape.start_tokens:
                tokens[row, place] = SPECIALS[0] if frame == 0 else SPECIALS[1]
                positions[row, place, 0] = frame
                ids[row, place] = number
                place += 1
            for h, w in np.ndindex(height, width):
                positions[row, place] = (frame, h, w)
                ids[row, place] = number
                place += 1
        edges |= {row * shape.num_tokens + place}
    assert said["document_ids"].numpy().tolist() == ids.tolist()
    assert said["positions"].numpy().tolist() == positions.tolist()
    assert flat.reshape(tokens.shape).tolist() == tokens.tolist()
    assert said["cu_seqlens"].tolist() == sorted(edges)
    assert said["max_seqlen"] == max(b - a for a, b in zip(sorted(edges), sorted(edges)[1:], strict=False))


@given(packed())
def test_bounds_and_numbers_say_the_same(case):
    """Between two bounds all places are one document's, or none's; and neighbours are not one document."""
    shape, num_rows, placed, _ = case
    flat = np.zeros((num_rows * shape.num_tokens, 1), np.int64)
    said = describe_rows(placed, shape, num_rows, flat, SPECIALS)
    bounds = said["cu_seqlens"].tolist()
    rows = np.repeat(np.arange(num_rows), shape.num_tokens)
    ids = rows * 1000 + said["document_ids"].numpy().reshape(-1)
    assert (bounds[0], bounds[-1]) == (0, len(ids))
    assert bounds == [0, *(np.flatnonzero(np.diff(ids)) + 1).tolist(), len(ids)]


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 5)), max_size=6
    )
)
def test_frames_are_unpacked_behind_a_free_place_each(pieces):
    grids = np.array([(height, width) for _, height, width, _ in pieces], np.int64).reshape(-1, 2)
    unpacking, expected = [], []
    target = 0
    for number, (frames, height, width, first) in enumerate(pieces):
        grid = height * width
        unpacking.append((number, first * grid, frames * grid, target))
        for frame in range(frames):
            expected.append((number, (first + frame) * grid, grid, target + 1))
            target += grid + 1
    table = np.array(unpacking, np.int64).reshape(-1, 4)
    assert frame_by_frame(table, grids.prod(axis=1)).tolist() == [list(row) for row in expected]
