"""One clip's range coder: the door to ``constriction``, held to our frequencies and cut to the last byte.

Words of 32 bits, a state of 64, frequencies of 24 bits (docs/compression.md). ``constriction`` takes floats:
given frequency − 1 in each place, whose sum 2^24 − K is the weight it has left after its own floor of 1 for
each value, it arrives at exactly the frequencies (tests/bsq_model/coding hold it to a coder in plain
integers).
"""

from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from bitmill.bsq_model.coding.symbol_model import Int64s
from bitmill.schemas.errors import FormatError

# The module is compiled, and no checker sees into it.
_STREAM: Any = vars(constriction)["stream"]
_FAMILY = _STREAM.model.Categorical(perfect=False)
_WORD_BITS = 32
_STATE = 1 << 64

Probabilities = npt.NDArray[np.float32]


def coder_probabilities(frequencies_BK: Int64s) -> Probabilities:
    """What ``constriction`` is given: integers below 2^24, which float32 and its sums hold exactly."""
    return (frequencies_BK - 1).astype(np.float32)


class SymbolEncoder:
    """Symbols of one clip to bytes."""

    def __init__(self) -> None:
        self._coder = _STREAM.queue.RangeEncoder()

    def put(self, symbol_1: npt.NDArray[np.int32], probabilities_1K: Probabilities) -> None:
        """One symbol, int32 [1], under ``coder_probabilities`` [1, K]."""
        self._coder.encode(symbol_1, _FAMILY, probabilities_1K)

    def finish(self) -> bytes:
        """The shortest bytes that, followed by zeros, lie in the coder's last interval."""
        words = [int(word) for word in self._coder.get_compressed()]
        if words:
            _, (lower, size) = self._coder.pos()
            # Any word between these closes the interval; an interval that wraps round keeps constriction's.
            first, last = -(-lower >> _WORD_BITS), (lower + size - 1) >> _WORD_BITS
            if lower + size <= _STATE and words[-1] in range(first, last + 1):
                words[-1] = _roundest(first, last)
        return np.array(words, ">u4").tobytes().rstrip(b"\0")


class SymbolDecoder:
    """Bytes of one clip to symbols. Damaged bytes give wrong symbols, or FormatError."""

    def __init__(self, data: bytes) -> None:
        padded = data + bytes(-len(data) % 4)
        self._coder = _STREAM.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))

    def take(self, probabilities_1K: Probabilities) -> int:
        """The next symbol."""
        try:
            return int(self._coder.decode(_FAMILY, probabilities_1K)[0])
        except (AssertionError, ValueError) as error:
            raise FormatError("The bytes are none that the coder writes.") from error


def _roundest(first: int, last: int) -> int:
    """The number of [first, last] that ends in the most zero bits."""
    for bits in range(_WORD_BITS, 0, -1):
        rounded = -(-first >> bits) << bits
        if rounded <= last:
            return rounded
    return first
