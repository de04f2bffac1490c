"""One clip's range coder: wraps ``constriction``, with our exact frequencies and minimal output bytes.

Words have 32 bits, the state 64, frequencies 24 (docs/compression.md). ``constriction`` takes floats and
gives each value at least 1: passing frequency − 1, with the sum 2^24 − K that then remains, yields exactly
our frequencies (tests/bsq_model/coding compare it with a coder in plain integers).
"""

from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from bitmill.bsq_model.coding.symbol_model import Int64s
from bitmill.schemas.errors import FormatError

# The module is compiled and has no type information.
_STREAM: Any = vars(constriction)["stream"]
_FAMILY = _STREAM.model.Categorical(perfect=False)
_WORD_BITS = 32
_STATE = 1 << 64

Probabilities = npt.NDArray[np.float32]


def coder_probabilities(frequencies_BK: Int64s) -> Probabilities:
    """Return ``constriction``'s input: integers below 2^24, which float32 and its sums represent exactly."""
    return (frequencies_BK - 1).astype(np.float32)


class SymbolEncoder:
    """Encodes one clip's symbols to bytes."""

    def __init__(self) -> None:
        self._coder = _STREAM.queue.RangeEncoder()

    def put(self, symbol_1: npt.NDArray[np.int32], probabilities_1K: Probabilities) -> None:
        """Encode one symbol, int32 [1], with ``coder_probabilities`` [1, K]."""
        self._coder.encode(symbol_1, _FAMILY, probabilities_1K)

    def finish(self) -> bytes:
        """Return the shortest bytes that, followed by zeros, are in the coder's final interval."""
        words = [int(word) for word in self._coder.get_compressed()]
        if words:
            _, (lower, size) = self._coder.pos()
            # Any word in this range ends the stream; if the interval wraps around, keep constriction's word.
            first, last = -(-lower >> _WORD_BITS), (lower + size - 1) >> _WORD_BITS
            if lower + size <= _STATE and words[-1] in range(first, last + 1):
                words[-1] = _roundest(first, last)
        return np.array(words, ">u4").tobytes().rstrip(b"\0")


class SymbolDecoder:
    """Decodes one clip's bytes to symbols; damaged bytes yield wrong symbols or FormatError."""

    def __init__(self, data: bytes) -> None:
        padded = data + bytes(-len(data) % 4)
        self._coder = _STREAM.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def take(self, probabilities_1K: Probabilities) -> int:
        """Decode the next symbol. Raises FormatError if the bytes are invalid."""
        try:
            return int(self._coder.decode(_FAMILY, probabilities_1K)[0])
        except (AssertionError, ValueError) as error:
            raise FormatError("The bytes are not a valid range-coded stream.") from error


def _roundest(first: int, last: int) -> int:
    """Return the number in [first, last] with the most trailing zero bits."""
    for bits in range(_WORD_BITS, 0, -1):
        rounded = -(-first >> bits) << bits
        if rounded <= last:
            return rounded
    return first
