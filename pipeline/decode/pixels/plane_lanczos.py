"""Lanczos resampling of a frame's planes of 8 to 16 bits to 14 bits, in exact integers, vertically first.

Weights are those of ``lanczos.py``, rounded to 14 bits; the largest one absorbs the rounding error of their
sum, so that a constant stays constant. Between and after the passes values have 14 bits plus sign, unclipped:
Lanczos overshoot beyond black and white is kept for the colour conversion.

Axes: H, W of the plane, h, w of the result, K taps of an output pixel, S interleaved samples (1, or 2 where
Cb and Cr alternate), V = columns × samples, R rows of a block, G = groups of four values packed into 64 bits.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.decode.pixels.lanczos import LOBES, lanczos
from bitmill.schemas.compiled_code.numba_compile import compiled, compiled_within

Rows = npt.NDArray[np.uint8 | np.uint16]
"""[H, V] samples as laid out in memory, including each row's padding."""
Values = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]
Sums = npt.NDArray[np.int32]
Fours = npt.NDArray[np.uint64]

VALUE_BITS = 14
"""Bits of the output: a sample of n bits is multiplied by 2^(14 - n)."""
_WEIGHT_BITS = 14
_BLOCK_ROWS = 128
_TAPS_AT_ONCE = 3


class PlaneTaps(NamedTuple):
    """The samples that contribute to each output pixel, and their weights."""

    first_N: npt.NDArray[np.int32]
    count_N: npt.NDArray[np.int32]
    weights_NK: npt.NDArray[np.int16]
    """At least two zeros follow the ``count_N`` weights."""


class Axis(NamedTuple):
    """One axis of resize and crop: ``length`` pixels become ``scaled``; ``size`` from ``start`` are kept."""

    length: int
    scaled: int
    start: int
    size: int


@lru_cache(maxsize=64)
def plane_taps(axis: Axis, num_samples: int, step: int, offset: float) -> PlaneTaps:
    """Returns the taps for a plane whose sample i is at pixel (i + 0.5 - offset) · step of the frame.

    For subsampled planes the weights combine two filters: upsampling to all pixels, and resizing these to the
    output. A single filter would alias chroma detail that is too fine for the result.
    An output pixel depends only on its position in the whole resized frame: cropping after resizing and
    resizing only the crop give the same bits.
    """
    span = 2 * LOBES * max(axis.length / axis.scaled, 1.0) / step + 2 * LOBES + 2
    filled = PlaneTaps(
        np.zeros(axis.size, np.int32),
        np.zeros(axis.size, np.int32),
        np.zeros((axis.size, math.ceil(span) + _TAPS_AT_ONCE - 1), np.int16),
    )
    _fill(filled, axis, num_samples, step, offset)
    return filled


@compiled
def _fill(filled: PlaneTaps, axis: Axis, num_samples: int, step: int, offset: float) -> None:
    widening = max(axis.length / axis.scaled, 1.0)
    reach = LOBES if step > 1 else 0
    exact_K = np.empty(filled.weights_NK.shape[1], np.float64)
    pixels_P = np.empty(math.ceil(2 * LOBES * widening) + 1, np.float64)
    for place in range(axis.size):
        centre = (axis.start + place + 0.5) * axis.length / axis.scaled
        low, num_pixels = _weigh(pixels_P, centre, LOBES * widening, widening, axis.length)
        first = max(0, math.ceil((low + 0.5) / step + offset - reach - 0.5))
        exact_K[:] = 0.0
        samples_K = np.empty(2 * LOBES + 1, np.float64)
        for pixel in range(num_pixels):
            at = (low + pixel + 0.5) / step + offset
            nearest, count = _weigh(samples_K, at, reach, 1.0, num_samples)
            for tap in range(count):
                exact_K[nearest - first + tap] += pixels_P[pixel] * samples_K[tap]
        _round(exact_K, first, filled, place)


@compiled_within
def _weigh(weights_K: Floats, centre: float, reach: float, widening: float, length: int) -> tuple[int, int]:
    """Fill in normalised weights; returns (index of the first sample, number of weights)."""
    first = max(0, math.ceil(centre - reach - 0.5))
    count = min(length, math.floor(centre + reach - 0.5) + 1) - first
    total = 0.0
    for tap in range(count):
        weights_K[tap] = lanczos((first + tap + 0.5 - centre) / widening)
        total += weights_K[tap]
    for tap in range(count):
        weights_K[tap] /= total
    return first, count


@compiled_within
def _round(exact_K: Floats, first: int, filled: PlaneTaps, place: int) -> None:
    """Round the weights to integers and trim the zeros at both ends."""
    weights_K = filled.weights_NK[place]
    left, largest, begin, end = 1 << _WEIGHT_BITS, 0, len(exact_K), 0
    for tap in range(len(exact_K)):
        weight = math.floor(exact_K[tap] * (1 << _WEIGHT_BITS) + 0.5)
        left -= weight
        if exact_K[tap] > exact_K[largest]:
            largest = tap
        if weight != 0:
            begin, end = min(begin, tap), tap + 1
            weights_K[tap - begin] = weight
    weights_K[largest - begin] += left
    filled.first_N[place], filled.count_N[place] = first + begin, end - begin


def filtered(rows_HV: Rows, across: PlaneTaps, down: PlaneTaps, *, num_bits: int, num_samples: int) -> Values:
    """Returns [S, h, w] of 14 bits plus sign from rows of S interleaved samples of ``num_bits``."""
    width = len(across.first_N)
    out_ShG = np.empty((num_samples, len(down.first_N), -(-width // 4)), np.uint64)
    # Not in compiled code, where ``min`` and ``max`` would import SciPy.
    needed = int(across.first_N.min()), int((across.first_N + across.count_N).max())
    _down_then_across(rows_HV, across, down, num_bits, needed, out_ShG)
    return np.ascontiguousarray(out_ShG.view(np.int16)[..., :width])


@compiled
def _down_then_across(  # noqa: PLR0917 - compiled code takes no keyword arguments
    rows_HV: Rows, across: PlaneTaps, down: PlaneTaps, num_bits: int, needed: tuple[int, int], out_ShG: Fours
) -> None:
    """``needed`` are the first sample of a row that ``across`` reads, and the one behind its last."""
    num_samples, height = out_ShG.shape[:2]
    left, right = needed[0] * num_samples, needed[1] * num_samples
    four_4V = np.empty((4, right - left), np.int16)
    sums_V = np.empty(right - left, np.int32)
    # Extra zero rows are read by the zero weights that pad the taps.
    laid_VG = np.zeros((right - left + 2 * num_samples, _BLOCK_ROWS // 4), np.uint64)
    for start in range(0, height, _BLOCK_ROWS):
        num_rows = min(_BLOCK_ROWS, height - start)
        for group in range((num_rows + 3) // 4):
            for row in range(4):
                y = min(start + 4 * group + row, height - 1)
                _weigh_rows(rows_HV[:, left:right], down, y, num_bits, sums_V, four_4V[row])
            for place in range(right - left):
                laid_VG[place, group] = _together(four_4V, place)
        _squeeze(laid_VG.view(np.int16), across, left, out_ShG[:, start : start + num_rows])


@compiled_within
def _together(values_4N: Values, place: int) -> np.uint64:
    """Packs four values into one, the first lowest: transposing then takes a quarter of the steps."""
    lower = np.uint64(np.uint16(values_4N[0, place])) | np.uint64(
        np.uint16(values_4N[1, place])
    ) << np.uint64(16)
    upper = np.uint64(np.uint16(values_4N[2, place])) | np.uint64(
        np.uint16(values_4N[3, place])
    ) << np.uint64(16)
    return lower | upper << np.uint64(32)


@compiled_within
def _weigh_rows(  # noqa: PLR0917 - compiled code takes no keyword arguments
    rows_HV: Rows, down: PlaneTaps, y: int, num_bits: int, sums_V: Sums, line_V: Values
) -> None:
    """Computes one row of the result, four rows of the plane at a time; ``sums_V`` is scratch space."""
    num_values = len(line_V)
    shift = np.int32(_WEIGHT_BITS + num_bits - VALUE_BITS)
    half = np.int32(1) << (shift - np.int32(1))
    sums_V[:] = half
    first, count = down.first_N[y], down.count_N[y]
    tap = 0
    while tap + 4 <= count:
        at = first + tap
        a, b = np.int32(down.weights_NK[y, tap]), np.int32(down.weights_NK[y, tap + 1])
        c, d = np.int32(down.weights_NK[y, tap + 2]), np.int32(down.weights_NK[y, tap + 3])
        row_a, row_b = rows_HV[at], rows_HV[at + 1]
        row_c, row_d = rows_HV[at + 2], rows_HV[at + 3]
        # numba widens to 64 bits, whose SIMD multiplication is several times slower.
        for place in range(num_values):
            sums_V[place] += np.int32(
                np.int32(a * np.int32(row_a[place]))
                + np.int32(b * np.int32(row_b[place]))
                + np.int32(c * np.int32(row_c[place]))
                + np.int32(d * np.int32(row_d[place]))
            )
        tap += 4
    while tap < count:
        weight, row_V = np.int32(down.weights_NK[y, tap]), rows_HV[first + tap]
        for place in range(num_values):
            sums_V[place] += np.int32(weight * np.int32(row_V[place]))
        tap += 1
    for place in range(num_values):
        # The mask changes no value, but keeps the shift at 32 bits.
        line_V[place] = np.int16(np.int32(sums_V[place] >> (shift & np.int32(31))))


@compiled_within
def _squeeze(laid_VR: Values, across: PlaneTaps, left: int, out_SRG: Fours) -> None:
    """Resamples horizontally. Rows beyond the result contain stale values, whose results are not used."""
    num_samples, num_rows, num_groups = out_SRG.shape
    sums_R = np.empty(_BLOCK_ROWS, np.int32)
    four_4R = np.empty((4, _BLOCK_ROWS), np.int16)
    for group in range(num_groups):
        for sample in range(num_samples):
            for place in range(4):
                x = min(4 * group + place, len(across.first_N) - 1)
                at = across.first_N[x] * num_samples - left + sample
                sums_R[:] = np.int32(1 << (_WEIGHT_BITS - 1))
                for tap in range(0, across.count_N[x], _TAPS_AT_ONCE):
                    a, b = np.int32(across.weights_NK[x, tap]), np.int32(across.weights_NK[x, tap + 1])
                    c = np.int32(across.weights_NK[x, tap + 2])
                    # Unsigned indices need no check for negative ones.
                    p = np.uint64(at + tap * num_samples)
                    q, r = np.uint64(p + num_samples), np.uint64(p + 2 * num_samples)
                    for row in range(_BLOCK_ROWS):
                        sums_R[row] += np.int32(
                            np.int32(a * np.int32(laid_VR[p, row]))
                            + np.int32(b * np.int32(laid_VR[q, row]))
                            + np.int32(c * np.int32(laid_VR[r, row]))
                        )
                for row in range(_BLOCK_ROWS):
                    four_4R[place, row] = np.int16(np.int32(sums_R[row] >> _WEIGHT_BITS))
            for row in range(num_rows):
                out_SRG[sample, row, group] = _together(four_4R, row)
