"""Encodes numbers and strings of a compressed stream, and reads them sequentially."""

from bitmill.schemas.errors import FormatError


def number_bytes(value: int) -> bytes:
    """Encode as LEB128: seven bits per byte, lowest first; the top bit means that more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string_bytes(data: bytes) -> bytes:
    """Encode as the number of bytes, then the bytes."""
    return number_bytes(len(data)) + data


class Cursor:
    """Reads bytes sequentially. Raises FormatError at their end; ``origin`` names them in errors."""

    def __init__(self, data: bytes, origin: str, *, at: int = 0) -> None:
        self._data, self._origin, self.at = data, origin, at

    @property
    def left(self) -> int:
        """Number of unread bytes."""
        return len(self._data) - self.at

    def take(self, count: int) -> bytes:
        """Read the next ``count`` bytes."""
        if count > self.left:
            raise FormatError(f"{self._origin} is truncated or damaged. Copy it again.")
        self.at += count
        return self._data[self.at - count : self.at]

    def rest(self) -> bytes:
        """Read all remaining bytes."""
        return self.take(self.left)

    def string(self) -> bytes:
        """Read what ``string_bytes`` wrote."""
        return self.take(self.number())

    def number(self) -> int:
        """Read what ``number_bytes`` wrote."""
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 56:
                raise FormatError(f"{self._origin} is damaged: a number in it has no end. Copy it again.")
