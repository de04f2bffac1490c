"""Packs documents into rows of fixed length by best-fit decreasing, compiled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.schemas.compiled_code.numba_compile import compiled

Int64s = npt.NDArray[np.int64]


def best_fit(lengths: Int64s, capacity: int) -> tuple[Int64s, Int64s]:
    """Row of each document and its place in that row, int64 [n] each; longest first, tightest fit.

    Documents of equal length keep their order; a new row is opened if no row has room (best-fit decreasing:
    at most 11/9 of the optimal number of rows, plus a constant; Johnson 1974). Lengths are at most
    ``capacity``.
    """
    order = np.argsort(-lengths, kind="stable")
    # Lengths are whole frames: in units of their common divisor there are few values of free room to search.
    unit = max(1, int(np.gcd.reduce(lengths))) if len(lengths) else 1
    rows, places = _best_fit(np.asarray(lengths // unit, np.int64), order, capacity // unit)
    return rows, places * unit


@compiled
def _best_fit(lengths: Any, order: Any, capacity: int) -> Any:
    count = len(lengths)
    rows, places = np.empty(count, np.int64), np.empty(count, np.int64)
    # Rows with equal free room form a stack: heads[room] is its top, below[row] the next one.
    heads = np.full(capacity + 1, -1, np.int64)
    below = np.empty(count, np.int64)
    opened = 0
    for document in order:
        length = lengths[document]
        room = length
        while room <= capacity and heads[room] < 0:
            room += 1
        if room > capacity:
            row, room = opened, capacity
            opened += 1
        else:
            row = heads[room]
            heads[room] = below[row]
        rows[document], places[document] = row, capacity - room
        left = room - length
        below[row] = heads[left]
        heads[left] = row
    return rows, places
