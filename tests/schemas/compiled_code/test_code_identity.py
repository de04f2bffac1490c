"""Names of kept code: alike wherever the code would be alike, and different wherever it would not."""

from collections import namedtuple
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic

from bitmill.schemas.compiled_code.code_identity import description, digest
from bitmill.schemas.dataset import packing

SOURCE = """
def {name}(a, b=1):
    '''Add.'''
    return called(a, FACTOR) + np.int64(b) if a in {{1, 2, "c"}} else [x * {constant} for x in a]
"""


def function(constant: int = 3, name: str = "outer", lines: int = 0, **known: Any) -> FunctionType:
    """A function of a module that has other globals, or of another place in its file."""
    module: dict[str, Any] = {"__name__": "module", "np": np, "FACTOR": 2, "called": callee(), **known}
    exec(compile("\n" * lines + SOURCE.format(constant=constant, name=name), "module.py", "exec"), module)
    return module[name]


def callee(constant: int = 5, **options: Any) -> Any:
    def inner(a: int, b: int) -> int:
        return a * b + constant

    return numba.njit(**options)(inner)


def generating(constant: int) -> Any:
    def typed(context: Any, a: Any, b: Any) -> Any:
        return types.int64(a, b), lambda *given: constant

    return intrinsic(typed)


def recursive(constant: int) -> Callable[..., int]:
    def inner(a: int) -> int:
        return inner(a - 1) + constant

    return inner


DIFFERENT = {
    "as it is": function(),
    "another constant, in a comprehension": function(constant=4),
    "another name": function(name="other"),
    "another global": function(FACTOR=3),
    "a global of another type": function(FACTOR=2.0),
    "a global of NumPy's": function(FACTOR=np.float32(2)),
    "another module": function(np=packing.np.linalg),
    "a callee that closes over another value": function(called=callee(6)),
    "a callee with another option": function(called=callee(fastmath=True)),
    "an intrinsic": function(called=generating(1)),
    "an intrinsic that generates other code": function(called=generating(2)),
    "itself": recursive(1),
    "itself, with another value": recursive(2),
}


def test_what_makes_other_code_has_another_name():
    assert len({description(one) for one in DIFFERENT.values()}) == len(DIFFERENT)


def test_what_makes_the_same_code_has_the_same_name():
    assert description(function(lines=7)) == description(function()) == description(DIFFERENT["as it is"])


class Pair(NamedTuple):
    first: int
    second: int


def test_types_options_and_processors_are_part_of_the_name():
    class Codegen(NamedTuple):
        cpu: str

        def magic_tuple(self) -> tuple[str, ...]:
            return (self.cpu,)

    swapped = namedtuple("Pair", ["second", "first"])
    signatures: list[tuple[types.Type, ...]] = [
        (types.int64,),
        (types.int64, types.int64),
        (types.Array(types.int64, 1, "C"),),
        (types.Array(types.int64, 1, "C", readonly=True),),
        (types.Array(types.int64, 1, "A"),),
        (types.NamedTuple((types.int64, types.int64), Pair),),
        (types.NamedTuple((types.int64, types.int64), swapped),),
    ]
    whole = function()
    digests = [digest(whole, {}, one, Codegen("a")) for one in signatures]
    digests += [digest(whole, {}, signatures[0], Codegen("b"))]
    digests += [digest(whole, {"nogil": True}, signatures[0], Codegen("a"))]
    assert len(set(digests)) == len(signatures) + 2


@pytest.mark.parametrize("known", [np.zeros(3), [1], packing])
def test_what_cannot_be_part_of_a_name_is_refused(known):
    """An array is a constant to numba; of a module of ours, what is used of it would have to be told."""
    with pytest.raises(TypeError, match="which cannot be part of its cache key"):
        description(function(FACTOR=known))
