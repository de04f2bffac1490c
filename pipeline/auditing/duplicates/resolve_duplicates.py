"""Decides which clips are kept and which are duplicates of a kept clip."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from bitmill.schemas.arrays import Bools, Float64s, Int64s

Distances = Callable[[Int64s, Int64s], Float64s]
"""For pairs (later, earlier): the share of bits in which their codes differ, 1 if their shapes differ."""

_Found = tuple[Int64s, Int64s, Float64s]
_NONE: _Found = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


def resolve(
    candidates: Iterable[tuple[Int64s, Int64s]], num_clips: int, radius: float, distances: Distances
) -> tuple[Int64s, Int64s, Float64s]:
    """Duplicates, ascending, the clips they duplicate, and the distances: (kept, duplicates, distances).

    In the order of clips, a clip is a duplicate if it lies within ``radius`` of an earlier clip that is not a
    duplicate itself: the first one among its candidates. So a chain of small steps never removes a clip that
    is far from all kept ones. Candidates are pairs (later, earlier), ascending, all pairs of one later clip
    together.
    """
    is_duplicate: Bools = np.zeros(num_clips, np.bool_)
    undecided: Bools = np.zeros(num_clips, np.bool_)
    found: list[_Found] = [_NONE]
    for later, earlier in candidates:
        found += _rounds(later, earlier, is_duplicate, undecided, radius, distances)
    kept = np.concatenate([part[0] for part in found])
    duplicates = np.concatenate([part[1] for part in found])
    far = np.concatenate([part[2] for part in found])
    order = np.argsort(duplicates)
    return kept[order], duplicates[order], far[order]


def _rounds(  # noqa: PLR0917
    later: Int64s, earlier: Int64s, is_duplicate: Bools, undecided: Bools, radius: float, distances: Distances
) -> Iterator[_Found]:
    """Decide all later clips; each round, those whose first open candidate is decided. Marks duplicates."""
    waiting = later
    undecided[waiting] = True
    while True:
        is_open = undecided[later] & ~is_duplicate[earlier]
        later, earlier = later[is_open], earlier[is_open]
        heads = np.flatnonzero(np.diff(later, prepend=-1))
        # A clip without remaining candidates is kept.
        undecided[waiting] = False
        waiting = later[heads]
        undecided[waiting] = True
        if not len(waiting):
            return
        ready = heads[~undecided[earlier[heads]]]
        far = distances(later[ready], earlier[ready])
        near = far <= radius
        yield earlier[ready][near], later[ready][near], far[near]
        is_duplicate[later[ready][near]] = True
        undecided[later[ready][near]] = False
        later, earlier = np.delete(later, ready), np.delete(earlier, ready)
