"""Finds where the clock of a broadcast stream restarts, as in concatenated recordings."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class _Packet(Protocol):
    @property
    def dts(self) -> int | None: ...


PacketT = TypeVar("PacketT", bound=_Packet)


def of_first_clock(packets: Iterable[PacketT]) -> Iterator[tuple[PacketT, bool]]:
    """Yields packets in decoding order, each with whether it comes before the first clock restart.

    Decoding times never decrease. A single packet that goes back has a damaged time; if the next one is
    behind too, the clock has restarted.
    """
    last: int | None = None
    held: PacketT | None = None
    for packet in (rest := iter(packets)):
        if last is not None and packet.dts is not None and packet.dts < last + (held is not None):
            if held is None:
                held = packet
                continue
            yield held, False
            yield packet, False
            yield from ((other, False) for other in rest)
            return
        if held is not None:
            yield held, True
            held = None
        last = packet.dts if packet.dts is not None else last
        yield packet, True
    if held is not None:
        yield held, True
