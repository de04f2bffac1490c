"""Converts resized planes to RGB in exact integers, by the stream's matrix and range; clips once, at the end.

Axes: h, w of the picture, C = 3 colours, V = columns × colours.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.decode.pixels.plane_lanczos import VALUE_BITS, Values
from bitmill.schemas.compiled_code.numba_compile import compiled, compiled_within

_FRACTION_BITS = 20
_LUMA_SHARES = {
    1: ("0.2126", "0.0722"),
    4: ("0.30", "0.11"),
    7: ("0.212", "0.087"),
    9: ("0.2627", "0.0593"),
    10: ("0.2627", "0.0593"),
}
"""Kr and Kb by FFmpeg's matrix number: BT.709, FCC, SMPTE 240M, BT.2020."""
_BT601 = ("0.299", "0.114")


@dataclass(frozen=True, slots=True)
class Scale:
    """Factors from plane values to 8-bit levels (white is 255), times 2^20: ``(value - zero) · luma`` etc."""

    zero: int
    luma: int
    red_of_red: int = 0
    green_of_blue: int = 0
    green_of_red: int = 0
    blue_of_blue: int = 0


@lru_cache(maxsize=64)
def scale_of(*, num_bits: int, is_full: bool, matrix: int | None) -> Scale:
    """Returns the scale for samples of ``num_bits``, wherever these are placed in their words.

    ``matrix`` is FFmpeg's number; None means that the planes are grey or RGB. Unknown ones count as BT.601.
    """
    peak = Fraction((1 << num_bits) - 1, 1 << num_bits)
    whole = Fraction(255 << _FRACTION_BITS, 1 << VALUE_BITS) / peak
    unit = Fraction(255 << _FRACTION_BITS, 1 << (VALUE_BITS - 8))
    zero, luma, chroma = (0, whole, whole) if is_full else (16 << (VALUE_BITS - 8), unit / 219, unit / 224)
    if matrix is None:
        return Scale(zero, round(luma))
    share_r, share_b = (Fraction(share) for share in _LUMA_SHARES.get(matrix, _BT601))
    share_g = 1 - share_r - share_b
    red, blue = 2 * (1 - share_r) * chroma, 2 * (1 - share_b) * chroma
    return Scale(
        zero,
        round(luma),
        red_of_red=round(red),
        green_of_blue=-round(blue * share_b / share_g),
        green_of_red=-round(red * share_r / share_g),
        blue_of_blue=round(blue),
    )


def coloured(planes: list[Values], scale: Scale) -> npt.NDArray[np.uint8]:
    """Returns [h, w, 3] RGB from one plane (grey) or three, each [h, w] of 14 bits plus sign."""
    height, width = planes[0].shape
    out_hwC = np.empty((height, width, 3), np.uint8)
    if scale.red_of_red:
        factors = (scale.red_of_red, scale.green_of_blue, scale.green_of_red, scale.blue_of_blue)
        _from_differences(
            *planes,
            np.int32(scale.zero),
            np.int32(scale.luma),
            np.array(factors, np.int32),
            out_hwC.reshape(height, 3 * width),
        )
        return out_hwC
    for colour in range(3):
        _from_level(
            planes[colour % len(planes)], np.int32(scale.zero), np.int32(scale.luma), out_hwC[..., colour]
        )
    return out_hwC


@compiled
def _from_differences(  # noqa: PLR0917 - compiled code takes no keyword arguments
    luma_hw: Values,
    blue_hw: Values,
    red_hw: Values,
    zero: int,
    per_luma: int,
    factors: npt.NDArray[np.int32],
    out_hV: npt.NDArray[np.uint8],
) -> None:
    half, grey = np.int32(1 << (_FRACTION_BITS - 1)), np.int32(1 << (VALUE_BITS - 1))
    red_of_red, green_of_blue, green_of_red, blue_of_blue = factors[0], factors[1], factors[2], factors[3]
    height, width = luma_hw.shape
    for y in range(height):
        line_V = out_hV[y]
        # Unsigned indices need no check for negative ones, so that the compiler vectorizes the stores.
        for x in range(np.uint64(width)):
            blue, red = np.int32(blue_hw[y, x] - grey), np.int32(red_hw[y, x] - grey)
            # numba widens to 64 bits, whose SIMD multiplication is several times slower.
            level = np.int32(half + np.int32(np.int32(luma_hw[y, x] - zero) * per_luma))
            at = np.uint64(3) * x
            line_V[at] = _clipped(np.int32(level + red_of_red * red))
            line_V[at + np.uint64(1)] = _clipped(np.int32(level + green_of_blue * blue + green_of_red * red))
            line_V[at + np.uint64(2)] = _clipped(np.int32(level + blue_of_blue * blue))


@compiled
def _from_level(level_hw: Values, zero: int, per_level: int, out_hw: npt.NDArray[np.uint8]) -> None:
    half = np.int32(1 << (_FRACTION_BITS - 1))
    for y in range(out_hw.shape[0]):
        for x in range(out_hw.shape[1]):
            out_hw[y, x] = _clipped(np.int32(half + np.int32(np.int32(level_hw[y, x] - zero) * per_level)))


@compiled_within
def _clipped(level: int) -> np.uint8:
    return np.uint8(min(max(np.int32(level >> _FRACTION_BITS), np.int32(0)), np.int32(255)))
