"""Recreates locks after fork, because the thread that held a lock does not exist in the child."""

import os
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """An object with locks and state guarded by them."""

    def renew(self) -> None:
        """Recreate the locks and reset the state that they guard."""
        ...


_RENEWABLE: "WeakSet[Renewable]" = WeakSet()


def renewed_in_forks(thing: Renewable) -> None:
    """Register ``thing.renew()`` to run first in every process forked from this one."""
    _RENEWABLE.add(thing)


def _renew_all() -> None:
    for thing in list(_RENEWABLE):
        thing.renew()


os.register_at_fork(after_in_child=_renew_all)
