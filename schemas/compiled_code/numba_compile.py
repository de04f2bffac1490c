"""Decorators that compile functions with numba, release the GIL and cache the machine code."""

import hashlib
from collections.abc import Callable
from typing import Any

import numba

from bitmill.schemas.compiled_code.code_identity import description
from bitmill.schemas.compiled_code.code_store import CodeStore

_njit: Any = numba.njit
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "boundscheck": False,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first use, once per tuple of argument types, and cache the machine code on disk.

    ``CodeStore`` documents where. Array bounds are not checked, and dividing by zero does not raise.
    """
    dispatcher: Any = _njit(**_OPTIONS)(_told_apart(function))
    dispatcher._cache = CodeStore(function, _OPTIONS)
    return dispatcher


def compiled_within(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that only compiled functions call; it is part of their code and not cached itself.

    Python must not call it: the process would crash.
    """
    return _njit(**_OPTIONS, no_cpython_wrapper=True)(_told_apart(function))


def _told_apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add a hash of the function's closure to its name.

    Symbols of machine code consist of a function's name, its argument types, and a number that every process
    counts from zero. If two functions have the same symbol, the linker may use the first for both.
    """
    if function.__closure__:
        cells = tuple(cell.cell_contents for cell in function.__closure__)
        function.__qualname__ += f".{hashlib.sha256(description(cells).encode()).hexdigest()[:16]}"
    return function
