"""Counts the one bits of a word, for compiled functions."""

from typing import Any

import numpy as np

from bitmill.schemas.compiled_code.numba_compile import compiled_within

_EVEN_BITS = 0x5555_5555_5555_5555
_EVEN_PAIRS = 0x3333_3333_3333_3333
_EVEN_NIBBLES = 0x0F0F_0F0F_0F0F_0F0F
_EACH_BYTE = 0x0101_0101_0101_0101


@compiled_within
def count_ones(word: Any) -> Any:
    """Number of one bits of a uint64, as uint64 (Hacker's Delight, Warren, 2nd edition, section 5-1).

    LLVM recognizes it and emits the processor's own instruction.
    """
    word -= (word >> np.uint64(1)) & np.uint64(_EVEN_BITS)
    word = (word & np.uint64(_EVEN_PAIRS)) + ((word >> np.uint64(2)) & np.uint64(_EVEN_PAIRS))
    word = (word + (word >> np.uint64(4))) & np.uint64(_EVEN_NIBBLES)
    return (word * np.uint64(_EACH_BYTE)) >> np.uint64(56)
