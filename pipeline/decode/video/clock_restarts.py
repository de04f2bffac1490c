"""Where the clock of a broadcast stream starts anew, as in recordings that were joined end to end; pure."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class _Packet(Protocol):
    @property
    def dts(self) -> int | None: ...


PacketT = TypeVar("PacketT", bound=_Packet)


def of_first_clock(packets: Iterable[PacketT]) -> Iterator[tuple[PacketT, bool]]:
    """Packets in the order in which they are decoded, and whether each comes before the clock starts anew.

    Decoding times never decrease. One packet that goes back alone has a damaged time; where the next one is
    behind as well, the clock has started anew.
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
