"""What holds a lock makes it anew in a forked process: the thread that held it there is not in the copy."""

import os
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """Has locks, and what they guard."""

    def renew(self) -> None:
        """Make locks and what they guard anew, as if nothing were under way."""
        ...


_RENEWABLE: "WeakSet[Renewable]" = WeakSet()


def renewed_in_forks(thing: Renewable) -> None:
    """Have ``thing.renew()`` called in each process that is forked from this one, before anything else."""
    _RENEWABLE.add(thing)


def _renew_all() -> None:
    for thing in list(_RENEWABLE):
        thing.renew()


os.register_at_fork(after_in_child=_renew_all)
