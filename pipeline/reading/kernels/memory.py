"""Reads memory by address, and prefetches it: intrinsics for compiled code, which nothing else may call."""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

from bitmill.schemas.compiled_code.numba_compile import compiled_within


def _type_load(typing_context: Any, address: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Load eight bytes from any address, little-endian, with one unaligned load."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(address), generate


load_word: Any = intrinsic(_type_load)


def _type_prefetch(typing_context: Any, address: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Bring the cache line of an address into the cache; any address is allowed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        number, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        to_read, every_level, data = number(0), number(3), number(1)
        builder.call(function, [builder.inttoptr(arguments[0], byte), to_read, every_level, data])
        return context.get_dummy_value()

    return types.void(address), generate


prefetch: Any = intrinsic(_type_prefetch)


@compiled_within
def load_int(address: int) -> Any:
    return np.int64(load_word(address))


@compiled_within
def load_bits(address: int, position: int, bits: int) -> Any:
    """Load up to 64 bits at any bit position of a clip."""
    byte, shift = address + (position >> 3), position & 7
    word = load_word(byte) >> np.uint64(shift)
    if shift + bits > 64:
        word |= load_word(byte + 1) >> np.uint64(56) << np.uint64(64 - shift)
    if bits < 64:
        word &= (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    return word
