"""Numbers and strings of a compressed stream: written, and read on through bytes."""

from bitmill.schemas.errors import FormatError


def number_bytes(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow (LEB128)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string_bytes(data: bytes) -> bytes:
    """The number of bytes, then the bytes."""
    return number_bytes(len(data)) + data


class Cursor:
    """Reads on through bytes. Raises FormatError at their end; ``origin`` is what errors call them."""

    def __init__(self, data: bytes, origin: str, *, at: int = 0) -> None:
        self._data, self._origin, self.at = data, origin, at

    @property
    def left(self) -> int:
        """How many bytes are not read yet."""
        return len(self._data) - self.at

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if count > self.left:
            raise FormatError(f"{self._origin} is cut short or damaged. Copy it anew.")
        self.at += count
        return self._data[self.at - count : self.at]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def string(self) -> bytes:
        """What ``string_bytes`` wrote."""
        return self.take(self.number())

    def number(self) -> int:
        """What ``number_bytes`` wrote."""
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 56:
                raise FormatError(f"{self._origin} is damaged: a number in it has no end. Copy it anew.")
