"""The range decoder of docs/compression.md in plain integers, by frequencies; shares no code with ours."""

from collections.abc import Sequence


class PlainDecoder:
    """Reads what the coder writes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 8
        self._value = int.from_bytes((data + bytes(8))[:8], "big")
        self._range = 2**64 - 1

    def take(self, frequencies: Sequence[int]) -> int:
        """The next symbol, by frequencies that sum to 2^24."""
        scale = self._range >> 24
        target, below = self._value // scale, 0
        symbol = 0
        while target >= below + frequencies[symbol]:
            below += frequencies[symbol]
            symbol += 1
        self._value -= scale * below
        self._range = scale * frequencies[symbol]
        if self._range < 2**32:
            word = int.from_bytes((self._data[self._at : self._at + 4] + bytes(4))[:4], "big")
            self._value, self._range = self._value << 32 | word, self._range << 32
            self._at += 4
        return symbol
