"""Ends a worker's process with its raylet, Ray's process on the machine."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
"""Of ``prctl(2)``: which signal the calling thread's process gets when its parent ends."""


def end_with_raylet() -> None:
    """Have the kernel kill this process, a worker of Ray, once its raylet has ended.

    A local Ray's raylet ends with the driver. Ray's workers look for it about once a second: a killed job's
    actor would write to its dataset while the next run resumes it, and leave a staged file in it. Call it in
    the main thread.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
