"""Compiled Lanczos resampling of 8-bit RGB, bit-identical to Pillow's: horizontally first, then vertically.

Pillow's definition: weights in double precision from the kernel sinc(x)·sinc(x/3), normalised, rounded to 22
fractional bits; sums of 32-bit integers, shifted and clipped to 8 bits after each axis. Integer sums do not
depend on their order, so pixels are the same on every CPU and equal to Pillow's.

Axes: H, W of the source, h, w of the result, K taps of an output pixel, C = 3 colours, V = columns × colours,
R rows of a block.
"""

import math
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bitmill.schemas.compiled_code.numba_compile import compiled, compiled_within

Picture = npt.NDArray[np.uint8]
"""[H, W, 3] RGB."""
Values = npt.NDArray[np.uint8]

LOBES = 3
_FRACTION_BITS = 32 - 8 - 2
_HALF = np.int32(1 << (_FRACTION_BITS - 1))
_BLOCK_ROWS = 64
"""Rows that are transposed at a time, so that a vector register contains one column's values of many rows."""


class Taps(NamedTuple):
    """The source pixels that contribute to each output pixel, and their weights; int32."""

    first_N: npt.NDArray[np.int32]
    count_N: npt.NDArray[np.int32]
    weights_NK: npt.NDArray[np.int32]


@lru_cache(maxsize=64)
def taps(length: int, low: float, high: float, size_px: int) -> Taps:
    """Returns the taps of ``size_px`` output pixels over [low, high) of ``length`` source pixels."""
    # Pillow passes its box in single precision.
    low32, high32 = np.float32(low), np.float32(high)
    scale = float(high32 - low32) / size_px
    support = LOBES * max(scale, 1.0)
    first_N = np.zeros(size_px, np.int32)
    count_N = np.zeros(size_px, np.int32)
    weights_NK = np.zeros((size_px, math.ceil(support) * 2 + 1), np.int32)
    _fill(Taps(first_N, count_N, weights_NK), length, float(low32), scale)
    return Taps(first_N, count_N, weights_NK)


@compiled
def _fill(filled: Taps, length: int, low: float, scale: float) -> None:
    widening = max(scale, 1.0)
    support = LOBES * widening
    weights_K = np.empty(filled.weights_NK.shape[1], np.float64)
    for place in range(len(filled.first_N)):
        centre = low + (place + 0.5) * scale
        first = max(0, int(centre - support + 0.5))
        count = min(length, int(centre + support + 0.5)) - first
        total = 0.0
        for tap in range(count):
            weights_K[tap] = lanczos((first + tap - centre + 0.5) * (1.0 / widening))
            total += weights_K[tap]
        filled.first_N[place], filled.count_N[place] = first, count
        for tap in range(count):
            weight = weights_K[tap] / total if total != 0.0 else weights_K[tap]
            scaled = weight * (1 << _FRACTION_BITS)
            filled.weights_NK[place, tap] = int(scaled - 0.5 if scaled < 0 else scaled + 0.5)


@compiled_within
def lanczos(at: float) -> float:
    return _sinc(at) * _sinc(at / LOBES) if -LOBES <= at < LOBES else 0.0


@compiled_within
def _sinc(at: float) -> float:
    return math.sin(at * math.pi) / (at * math.pi) if at != 0.0 else 1.0


@cache
def make_ready() -> None:
    """Load or compile the code, so that the first image takes no longer than others."""
    resampled(np.zeros((1, 1, 3), np.uint8), (0.0, 0.0, 1.0, 1.0), (1, 1))


def resampled(picture_HWC: Picture, box: tuple[float, float, float, float], size: tuple[int, int]) -> Picture:
    """Resample the box (left, top, right, bottom) of a C-contiguous image to ``size`` (w, h), [h, w, 3]."""
    height, width = picture_HWC.shape[:2]
    out_hwC = np.empty((size[1], size[0], 3), np.uint8)
    _across_then_down(
        picture_HWC, out_hwC, taps(width, box[0], box[2], size[0]), taps(height, box[1], box[3], size[1])
    )
    return out_hwC


@compiled
def _across_then_down(picture_HWC: Picture, out_hwC: Picture, across: Taps, down: Taps) -> None:
    height, width = out_hwC.shape[0], out_hwC.shape[1]
    top, bottom = down.first_N[0], down.first_N[height - 1] + down.count_N[height - 1]
    left, right = across.first_N[0], across.first_N[width - 1] + across.count_N[width - 1]
    narrow_HV = np.empty((bottom - top, width * 3), np.uint8)
    block_VR = np.empty(((right - left) * 3, _BLOCK_ROWS), np.uint8)
    squeezed_VR = np.empty((width * 3, _BLOCK_ROWS), np.uint8)
    for start in range(top, bottom, _BLOCK_ROWS):
        num_rows = min(_BLOCK_ROWS, bottom - start)
        _lay_in_columns(picture_HWC[start : start + num_rows], left, block_VR)
        _squeeze(block_VR, across, squeezed_VR)
        for row in range(num_rows):
            line_V = narrow_HV[start - top + row]
            for place in range(width * 3):
                line_V[place] = squeezed_VR[place, row]
    _weigh_rows(narrow_HV, down, out_hwC.reshape(height, width * 3))


@compiled_within
def _lay_in_columns(rows_RWC: Picture, left: int, block_VR: Values) -> None:
    for column in range(len(block_VR) // 3):
        for colour in range(3):
            values_R = block_VR[column * 3 + colour]
            for row in range(len(rows_RWC)):
                values_R[row] = rows_RWC[row, left + column, colour]


@compiled_within
def _squeeze(block_VR: Values, across: Taps, squeezed_VR: Values) -> None:
    """Resamples horizontally. The block contains only needed columns; unused rows contain stale values."""
    left = across.first_N[0]
    sums_R = np.empty(_BLOCK_ROWS, np.int32)
    for x in range(len(across.first_N)):
        for colour in range(3):
            at = (across.first_N[x] - left) * 3 + colour
            sums_R[:] = _HALF
            for tap in range(across.count_N[x]):
                weight = across.weights_NK[x, tap]
                values_R = block_VR[at + 3 * tap]
                # numba widens to 64 bits, whose SIMD multiplication is several times slower.
                for row in range(_BLOCK_ROWS):
                    sums_R[row] += np.int32(weight * np.int32(values_R[row]))
            for row in range(_BLOCK_ROWS):
                squeezed_VR[x * 3 + colour, row] = np.uint8(min(max(sums_R[row] >> _FRACTION_BITS, 0), 255))


@compiled_within
def _weigh_rows(narrow_HV: Values, down: Taps, out_hV: Values) -> None:
    width = out_hV.shape[1]
    top = down.first_N[0]
    sums_V = np.empty(width, np.int32)
    for y in range(len(down.first_N)):
        sums_V[:] = _HALF
        for tap in range(down.count_N[y]):
            weight = down.weights_NK[y, tap]
            line_V = narrow_HV[down.first_N[y] - top + tap]
            for place in range(width):
                sums_V[place] += np.int32(weight * np.int32(line_V[place]))
        for place in range(width):
            out_hV[y, place] = np.uint8(min(max(sums_V[place] >> _FRACTION_BITS, 0), 255))
