"""Functions compiled by numba, which release the GIL: what all compiled code here is decorated with."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first use. The machine code is kept beside the source, or in the user's cache.

    Where neither can be written (a container without a home, on a read-only disk), each process compiles
    anew. Arrays' bounds are not checked, and dividing by zero raises nothing.
    """
    options: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return numba.njit(**options)(function)
