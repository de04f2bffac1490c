"""The scales of Infinity's pyramids as published, by the shape of the image.

FoundationVision/Infinity, ``dynamic_resolution``: 13 scales for each ratio of height to width; images of less
area have the first ones alone.
"""

_NUM_SCALES = (7, 10, 12, 13)
"""Of images of 0.06, 0.25, 0.6 and 1 million pixels."""

_TABLE = (
    "1x1 2x2 4x4 6x6 8x8 12x12 16x16 20x20 24x24 32x32 40x40 48x48 64x64",
    "1x1 2x2 3x3 5x4 10x8 15x12 20x16 25x20 30x24 35x28 45x36 55x44 70x56",
    "1x1 2x2 4x3 8x6 12x9 16x12 20x15 24x18 28x21 36x27 48x36 60x45 72x54",
    "1x1 2x2 3x2 6x4 9x6 15x10 21x14 27x18 33x22 39x26 48x32 63x42 78x52",
    "1x1 2x2 3x3 7x4 11x6 14x8 21x12 28x16 35x20 42x24 56x32 70x40 84x48",
    "1x1 2x2 4x2 6x3 10x5 16x8 22x11 30x15 38x19 46x23 60x30 74x37 90x45",
    "1x1 2x2 5x2 10x4 15x6 20x8 25x10 30x12 40x16 50x20 65x26 80x32 100x40",
    "1x1 2x2 6x2 9x3 15x5 21x7 27x9 36x12 45x15 54x18 72x24 90x30 111x37",
)
"""Height×width in positions of 16 pixels: squares, then ever higher images; the others are transposes."""


def published_schedules(*, doubled: bool = False) -> tuple[str, ...]:
    """Return the schedules of all published sizes, as ``InfinityConfig.schedules`` has them.

    ``doubled``: in positions of 8 pixels, for a model whose transformer sees 2×2 of them as one token.
    """
    times = 2 if doubled else 1
    high = [[_sides(grid) for grid in row.split()] for row in _TABLE]
    rows = [*high, *([(width, height) for height, width in row] for row in high[1:])]
    return tuple(
        " ".join(f"{times * height}x{times * width}" for height, width in row[:num_scales])
        for num_scales in _NUM_SCALES
        for row in rows
    )


def _sides(grid: str) -> tuple[int, int]:
    height, width = grid.split("x")
    return int(height), int(width)
