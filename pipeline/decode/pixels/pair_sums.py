"""Weighted sums of pairs of 16-bit values: the inner loop of resampling, an intrinsic of compiled code.

Written for LLVM's vectors, of which each processor makes its own instruction for pairs (x86: pmaddwd); sums
of integers are the same bits on all of them.
"""
# ruff: noqa: ARG001 - numba determines the arguments of these functions

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

LANES = 32
"""Sums of one call."""


def _type_pair_sums(  # noqa: PLR0917 - compiled code takes no keyword arguments
    typing_context: Any,
    out: Any,
    values: Any,
    stride: Any,
    weights: Any,
    count: Any,
    start: Any,
    shift: Any,
) -> tuple[Any, Callable[..., Any]]:
    """Store ``LANES`` int16, (start + Σ_k weights[k]·values[k]) >> shift in 32 bits, each k a pair of both.

    ``out``, ``values`` and ``weights`` are addresses: of LANES int16; of ``count`` rows of LANES pairs of
    int16, ``stride`` bytes apart; of ``count`` pairs of int16, at least one.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        out, values, stride, weights, count, start, shift = arguments
        before, body, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        first = _splat(builder, start)
        builder.branch(body)
        builder.position_at_end(body)
        index = builder.phi(ir.IntType(64))
        sums = builder.phi(first.type)
        row = builder.add(values, builder.mul(index, stride))
        pair = builder.add(weights, builder.mul(index, ir.IntType(64)(4)))
        more = builder.add(sums, _products(builder, _load(builder, row), pair))
        following = builder.add(index, ir.IntType(64)(1))
        index.add_incoming(ir.IntType(64)(0), before)
        index.add_incoming(following, body)
        sums.add_incoming(first, before)
        sums.add_incoming(more, body)
        builder.cbranch(builder.icmp_signed("<", following, count), body, after)
        builder.position_at_end(after)
        shifted = builder.ashr(more, _splat(builder, shift))
        narrow = builder.trunc(shifted, ir.VectorType(ir.IntType(16), LANES))
        builder.store(narrow, builder.inttoptr(out, narrow.type.as_pointer()), align=2)
        return context.get_dummy_value()

    kinds = (types.int64,) * 5 + (types.int32,) * 2
    return types.void(*kinds), generate


pair_sums: Any = intrinsic(_type_pair_sums)


def _load(builder: Any, address: Any) -> Any:
    pointer = builder.inttoptr(address, ir.VectorType(ir.IntType(16), 2 * LANES).as_pointer())
    return builder.load(pointer, align=2)


def _products(builder: Any, values: Any, address: Any) -> Any:
    """Returns the sum of both products of each pair; in the order that LLVM knows."""
    pair = builder.load(builder.inttoptr(address, ir.IntType(32).as_pointer()), align=2)
    weights = builder.bitcast(_splat(builder, pair), values.type)
    wide = ir.VectorType(ir.IntType(32), 2 * LANES)
    products = builder.mul(builder.sext(values, wide), builder.sext(weights, wide))
    even, odd = (
        builder.shuffle_vector(products, _undefined(wide), _lanes(range(first, 2 * LANES, 2)))
        for first in (0, 1)
    )
    return builder.add(even, odd)


def _splat(builder: Any, scalar: Any) -> Any:
    """Returns a vector with the scalar in each lane."""
    kind = ir.VectorType(ir.IntType(32), LANES)
    one = builder.insert_element(_undefined(kind), scalar, ir.IntType(32)(0))
    return builder.shuffle_vector(one, _undefined(kind), _lanes([0] * LANES))


def _undefined(kind: Any) -> Any:
    return ir.Constant(kind, ir.Undefined)


def _lanes(numbers: Sequence[int]) -> Any:
    return ir.Constant(
        ir.VectorType(ir.IntType(32), len(numbers)), [ir.IntType(32)(number) for number in numbers]
    )
