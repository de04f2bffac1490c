"""Cache keys of compiled functions: digests of everything that determines their machine code."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, EllipsisType, FunctionType, ModuleType
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import config

_CODE = (
    "co_code",
    "co_exceptiontable",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_flags",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_consts",
)
"""Attributes of a code object, without file and line numbers, which do not affect machine code."""

_SETTINGS = (
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT",
    "DISABLE_INTEL_SVML",
)
"""Numba settings, by their NUMBA_… variables."""


def digest(function: Callable[..., Any], options: dict[str, Any], signature: Any, codegen: Any) -> bytes:
    """Return the SHA-256 of everything that determines a function's machine code for a signature.

    That is the function with its constants and everything it calls, the compiler, and the processor.
    """
    versions = (numba.__version__, llvmlite.__version__, np.__version__, sys.version)
    settings = [str(getattr(config, name, None)) for name in _SETTINGS]
    made_by = (versions, settings, codegen.magic_tuple(), sorted(options.items()))
    whole = repr((made_by, description(function), list(_types(signature))))
    return hashlib.sha256(whole.encode()).digest()


def description(value: Any, within: tuple[Any, ...] = ()) -> str:
    """Describe a constant of compiled code, or a function with everything it refers to, as text.

    Raises TypeError for a value without a stable description, e.g. an array: compiled code must not use it.
    """
    match value:
        case None | EllipsisType() | bool() | int() | float() | complex() | str() | bytes():
            told = repr(value)
        case np.generic():
            told = f"{value.dtype.str} {value.tobytes().hex()}"
        case tuple():
            told = f"({', '.join(description(part, within) for part in value)})"
        case frozenset():
            told = f"{{{', '.join(sorted(description(part, within) for part in value))}}}"
        case CodeType():
            told = description(tuple(getattr(value, part) for part in _CODE), within)
        case FunctionType():
            told = _function(value, within)
        case ModuleType() if value.__name__.partition(".")[0] != "bitmill":
            told = f"{value.__name__} {getattr(value, '__version__', '')}"
        case type() | BuiltinFunctionType():
            told = f"{value.__module__}.{value.__qualname__} {getattr(value, '_fields', '')}"
        case _ if hasattr(value, "__wrapped__"):  # numba's dispatchers and intrinsics
            options = sorted(getattr(value, "targetoptions", {}).items())
            told = f"{type(value).__qualname__} {options} {description(value.__wrapped__, within)}"
        case _:
            raise TypeError(f"compiled code uses {value!r}, which cannot be part of its cache key")
    return told


def _function(function: FunctionType, within: tuple[Any, ...]) -> str:
    name = f"{function.__module__}.{function.__qualname__}"
    if function in within:
        return name
    within = (*within, function)
    named = {
        name: description(function.__globals__[name], within)
        for name in sorted(set(_names(function.__code__)))
        if name in function.__globals__
    }
    cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    parts = (function.__code__, function.__defaults__, cells)
    return f"{name} {description(parts, within)} {named}"


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _types(signature: Any) -> Iterator[str]:
    """Yield the arguments' types; named tuples with their fields, which their names do not include."""
    for one in signature:
        yield f"{one!r} {getattr(one, 'fields', '')}"
