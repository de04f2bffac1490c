"""Where iterations are to begin: told by the process that has the loader, heard by its worker processes."""

from dataclasses import astuple

import torch

from bitmill.pipeline.reading.order.resume_state import Position

_NUM_FIELDS = len(astuple(Position()))


class SharedState:
    """A position in memory that a process shares with DataLoader workers that it forks or spawns.

    A worker that outlives an epoch has its own copy of all else, and would not hear of ``set_epoch`` or of a
    state that is loaded.
    """

    def __init__(self) -> None:
        # How often it was told, how often when an iteration last began, then the position's fields.
        self._shared = torch.zeros(2 + _NUM_FIELDS, dtype=torch.int64).share_memory_()
        self._heard = 0
        self._overruled = False

    def tell(self, position: Position) -> None:
        """Have iterations that begin from now on, in any process, begin here."""
        self._shared[2:] = torch.tensor(astuple(position), dtype=torch.int64)
        self._shared[0] += 1
        self._heard = int(self._shared[0])

    def first(self, own: Position) -> Position:
        """Where an iteration of a worker begins: what was told last, or ``own`` if that was given later.

        Not only what is news: a worker may have heard it for an iteration that was dropped as it began.
        """
        told, overruled = int(self._shared[0]), self._overruled
        self._overruled = False
        if overruled and told == self._heard:
            return own
        self._heard = told
        return Position(*self._shared[2:].tolist())

    def overrule(self) -> None:
        """Forget what was told: this very process, a worker, was given a position of its own."""
        self._heard = int(self._shared[0])
        self._overruled = True

    def begin(self) -> bool:
        """Note that an iteration begins; false where nothing was told since the last one began, in any
        process.
        """
        told = self._overruled or bool(self._shared[0] != self._shared[1])
        self._shared[1] = self._shared[0]
        return told
