"""What is compared: something that makes a file of frames at some setting, and frames of the file."""

from dataclasses import dataclass
from typing import Protocol

from benchmarks.compression.media import Frames, Item


@dataclass(frozen=True, kw_only=True)
class Coded:
    """One item through a contender."""

    num_bytes: int
    """Of the whole file."""
    frames_THWC: Frames
    """Decoded from it, of the item's size."""


class Contender(Protocol):
    """One curve."""

    @property
    def name(self) -> str:
        """In tables and plots."""
        ...

    @property
    def settings(self) -> tuple[int, ...]:
        """The curve's points: a quality, a CRF, a frame size."""
        ...

    def code(self, item: Item, setting: int) -> Coded:
        """To a file and back."""
        ...
