"""Ranges by which items are counted: duration, resolution and frame rate."""

from bisect import bisect_right
from collections.abc import Sequence

DURATIONS: Sequence[tuple[float, str]] = (
    (0, "under 1 s"),
    (1, "1 to 10 s"),
    (10, "10 s to 1 min"),
    (60, "1 to 10 min"),
    (600, "10 min to 1 h"),
    (3600, "1 h and more"),
)
SHORT_SIDES: Sequence[tuple[float, str]] = (
    (0, "under 240 px"),
    (240, "240 to 359 px"),
    (360, "360 to 479 px"),
    (480, "480 to 719 px"),
    (720, "720 to 1079 px"),
    (1080, "1080 to 1439 px"),
    (1440, "1440 to 2159 px"),
    (2160, "2160 px and more"),
)
RATES: Sequence[tuple[float, str]] = (
    (0, "under 12 fps"),
    (12, "12 to 20 fps"),
    (20, "20 to 27 fps"),
    (27, "27 to 40 fps"),
    (40, "40 to 55 fps"),
    (55, "55 to 70 fps"),
    (70, "70 fps and more"),
)


def bucket(value: float | None, buckets: Sequence[tuple[float, str]]) -> str | None:
    """The name of the range that contains a value; each begins at its number. Returns None for None."""
    if value is None:
        return None
    return buckets[max(0, bisect_right([start for start, _ in buckets], value) - 1)][1]


def resolution(height: int | None, width: int | None) -> str | None:
    """The range of a picture's shorter side."""
    return None if height is None or width is None else bucket(min(height, width), SHORT_SIDES)
