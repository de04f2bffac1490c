"""Scheduling that stays what it was."""

import os
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def scheduling_kept() -> Generator[None]:
    """Give the calling thread its policy and priority back at the end.

    SVT-AV1, when run by root, moves the thread that opens it to real-time priority and leaves it there: that
    thread and every process started from it would go before all else on the machine.
    """
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)
