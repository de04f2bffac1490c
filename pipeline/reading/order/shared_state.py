"""Shares the start position of iterations between the main process and its DataLoader workers."""

from dataclasses import astuple

import torch

from bitmill.pipeline.reading.order.resume_state import Position

_NUM_FIELDS = len(astuple(Position()))


class SharedState:
    """A position in memory shared with DataLoader workers that this process forks or spawns.

    A persistent worker has its own copy of everything else, so it would miss ``set_epoch`` and loaded states.
    """

    def __init__(self) -> None:
        # Number of ``tell`` calls, that number when the last iteration began, then the position's fields.
        self._shared = torch.zeros(2 + _NUM_FIELDS, dtype=torch.int64).share_memory_()
        self._heard = 0
        self._overruled = False

    def tell(self, position: Position) -> None:
        """Set where iterations that begin from now on, in any process, start."""
        self._shared[2:] = torch.tensor(astuple(position), dtype=torch.int64)
        self._shared[0] += 1
        self._heard = int(self._shared[0])

    def first(self, own: Position) -> Position:
        """Where a worker's iteration starts: the position told last, or ``own`` if that was set later.

        Applies an already seen position again: the iteration that saw it may have been dropped at its start.
        """
        told, overruled = int(self._shared[0]), self._overruled
        self._overruled = False
        if overruled and told == self._heard:
            return own
        self._heard = told
        return Position(*self._shared[2:].tolist())

    def overrule(self) -> None:
        """Ignore the told position: this worker process was given a position of its own."""
        self._heard = int(self._shared[0])
        self._overruled = True

    def begin(self) -> bool:
        """Note that an iteration begins; false if nothing was told since any process last began one."""
        told = self._overruled or bool(self._shared[0] != self._shared[1])
        self._shared[1] = self._shared[0]
        return told
