"""Functions compiled by numba, which release the GIL: what all compiled code here is decorated with."""

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
    """Compile on first use, a form for each tuple of arguments' types. The machine code is kept on disk.

    ``CodeStore`` says where. Arrays' bounds are not checked, and dividing by zero raises nothing.
    """
    dispatcher: Any = _njit(**_OPTIONS)(_told_apart(function))
    dispatcher._cache = CodeStore(function, _OPTIONS)
    return dispatcher


def compiled_within(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for what compiled functions alone call, in whose code its own lies: none is kept of it.

    Python cannot call it: the process would die.
    """
    return _njit(**_OPTIONS, no_cpython_wrapper=True)(_told_apart(function))


def _told_apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with what it is closed over in its name.

    Symbols of machine code hold a function's name, its arguments' types, and a number that each process
    counts anew. Of two functions that are loaded under one symbol, the linker may take the first for both.
    """
    if function.__closure__:
        cells = tuple(cell.cell_contents for cell in function.__closure__)
        function.__qualname__ += f".{hashlib.sha256(description(cells).encode()).hexdigest()[:16]}"
    return function
