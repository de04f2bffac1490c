"""Processor instructions that count bits, for compiled functions: uint64 to uint64."""

from collections.abc import Callable
from typing import Any

from numba.core import types
from numba.extending import intrinsic


def _type_count_ones(typing_context: Any, word: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


def _type_leading_zeros(typing_context: Any, word: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.ctlz(arguments[0], context.get_constant(types.boolean, False))

    return types.uint64(types.uint64), generate


count_ones: Any = intrinsic(_type_count_ones)
"""Number of one bits."""

leading_zeros: Any = intrinsic(_type_leading_zeros)
"""Number of zeros above the highest one bit; 64 if there is none."""
