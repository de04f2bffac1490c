"""Lanczos resampling of a frame's planes of 8 to 16 bits to 14 bits, in exact integers, vertically first.

Weights are those of ``lanczos.py``, rounded to 14 bits; the largest one absorbs the rounding error of their
sum, so that a constant stays constant. Between and after the passes values have 14 bits plus sign, unclipped:
Lanczos overshoot beyond black and white is kept for the colour conversion.

Axes: H, W of the plane, h, w of the result, K taps of an output pixel, S interleaved samples (1, or 2 where
Cb and Cr alternate), V = columns × samples, R rows of a block, C columns of a strip, G = groups of values
packed into 64 bits. Both passes sum pairs of neighbours (``pair_sums``), and each writes what the next one
reads in the order in which it reads it.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.decode.pixels.lanczos import LOBES, lanczos
from bitmill.pipeline.decode.pixels.pair_sums import LANES, pair_sums
from bitmill.schemas.compiled_code.numba_compile import compiled, compiled_within

Rows = npt.NDArray[np.uint8 | np.uint16]
"""[H, V] samples as laid out in memory, including each row's padding."""
Values = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]
Pairs = npt.NDArray[np.uint32]
"""Two 16-bit values each, the first lowest."""
Groups = npt.NDArray[np.uint64]

VALUE_BITS = 14
"""Bits of the output: a sample of n bits is multiplied by 2^(14 - n)."""
_WEIGHT_BITS = 14
_SIGNS = 0x80008000
"""The highest bit of both values of a pair."""
_BLOCK_ROWS = 64
_STRIP_COLUMNS = 128
"""Multiples of ``LANES``; what a strip of a block needs stays in the cache."""


class PlaneTaps(NamedTuple):
    """The samples that contribute to each output pixel, and their weights."""

    first_N: npt.NDArray[np.int32]
    """Even, so that pairs of samples are the same ones for all."""
    count_N: npt.NDArray[np.int32]
    weights_NK: npt.NDArray[np.int16]
    """Zeros follow the ``count_N`` weights, at least one if these are odd in number."""


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
        np.zeros((axis.size, 2 * math.ceil(span / 2) + 2), np.int16),
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
    """Round the weights to integers, trim the zeros at both ends, and begin at an even sample."""
    weights_K = filled.weights_NK[place]
    left, largest, begin, end = 1 << _WEIGHT_BITS, 0, 0, 0
    for tap in range(len(exact_K)):
        weight = math.floor(exact_K[tap] * (1 << _WEIGHT_BITS) + 0.5)
        left -= weight
        if exact_K[tap] > exact_K[largest]:
            largest = tap
        if weight != 0:
            if end == 0:
                begin = tap - ((first + tap) & 1)
            end = tap + 1
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
    rows_HV: Rows, across: PlaneTaps, down: PlaneTaps, num_bits: int, needed: tuple[int, int], out_ShG: Groups
) -> None:
    """``needed`` are the first column that ``across`` reads, and the one behind its last."""
    num_samples, height = out_ShG.shape[:2]
    left, right = needed
    laid_PC = np.zeros(((rows_HV.shape[0] + 1) // 2, _STRIP_COLUMNS), np.uint32)
    strip_RC = np.zeros((_BLOCK_ROWS, _STRIP_COLUMNS), np.int16)
    num_strips = (right - left + _STRIP_COLUMNS - 1) // _STRIP_COLUMNS
    turned_PG = np.zeros((num_strips * _STRIP_COLUMNS // 2, _BLOCK_ROWS // 2), np.uint64)
    for sample in range(num_samples):
        for start in range(0, height, _BLOCK_ROWS):
            num_rows = min(_BLOCK_ROWS, height - start)
            top, bottom = _extent(down, start, num_rows)
            for strip in range(num_strips):
                begin = left + strip * _STRIP_COLUMNS
                columns = begin, min(begin + _STRIP_COLUMNS, right)
                _lay(rows_HV, (top, bottom), columns, (num_samples, sample), laid_PC)
                _weigh_down(laid_PC, down, (start, num_rows, top), num_bits, rows_HV.itemsize, strip_RC)
                _turn(strip_RC.view(np.uint32), turned_PG[strip * _STRIP_COLUMNS // 2 :])
            _weigh_across(turned_PG, across, left, out_ShG[sample, start : start + num_rows])


@compiled_within
def _extent(down: PlaneTaps, start: int, num_rows: int) -> tuple[int, int]:
    """Returns the first row of the plane that a block reads, and the one behind its last."""
    top, bottom = down.first_N[start], 0
    for y in range(start, start + num_rows):
        top = min(top, down.first_N[y])
        bottom = max(bottom, down.first_N[y] + down.count_N[y])
    return top, bottom


@compiled_within
def _lay(
    rows_HV: Rows,
    rows: tuple[int, int],
    columns: tuple[int, int],
    interleaved: tuple[int, int],
    laid_PC: Pairs,
) -> None:
    """Lay each two rows into pairs; samples of 16 bits are made signed, which ``_weigh_down`` undoes."""
    (top, bottom), (begin, end), (step, sample) = rows, columns, interleaved
    flip = np.uint32(_SIGNS if rows_HV.itemsize == 2 else 0)
    for y in range(top, bottom, 2):
        upper_V, lower_V = rows_HV[y], rows_HV[min(y + 1, bottom - 1)]
        pairs_C = laid_PC[(y - top) // 2]
        # Two loops, since only one of known step is vectorized.
        if step == 1:
            for place in range(np.uint64(end - begin)):
                at = np.uint64(begin) + place
                pairs_C[place] = _pair(upper_V[at], lower_V[at]) ^ flip
        else:
            for place in range(np.uint64(end - begin)):
                at = (np.uint64(begin) + place) * np.uint64(step) + np.uint64(sample)
                pairs_C[place] = _pair(upper_V[at], lower_V[at]) ^ flip


@compiled_within
def _pair(first: int, second: int) -> np.uint32:
    return np.uint32(np.uint32(first) | np.uint32(np.uint32(second) << np.uint32(16)))


@compiled_within
def _weigh_down(  # noqa: PLR0917 - compiled code takes no keyword arguments
    laid_PC: Pairs,
    down: PlaneTaps,
    block: tuple[int, int, int],
    num_bits: int,
    itemsize: int,
    strip_RC: Values,
) -> None:
    """Resamples a strip of a block vertically."""
    start, num_rows, top = block
    shift = _WEIGHT_BITS + num_bits - VALUE_BITS
    half = 1 << (shift - 1)
    if itemsize == 2:
        # The weights sum to 1, so that what was subtracted from all samples is missing once.
        half += 1 << (15 + _WEIGHT_BITS)
    values, out, weights = laid_PC.ctypes.data, strip_RC.ctypes.data, down.weights_NK.ctypes.data
    for row in range(num_rows):
        y = start + row
        for column in range(0, _STRIP_COLUMNS, LANES):
            pair_sums(
                np.int64(out + 2 * (row * _STRIP_COLUMNS + column)),
                np.int64(values + 4 * ((down.first_N[y] - top) // 2 * _STRIP_COLUMNS + column)),
                np.int64(4 * _STRIP_COLUMNS),
                np.int64(weights + y * down.weights_NK.strides[0]),
                np.int64((down.count_N[y] + 1) // 2),
                np.int32(half),
                np.int32(shift),
            )


@compiled_within
def _turn(strip_RP: Pairs, turned_PG: Groups) -> None:
    """Transposes, two rows at a time."""
    for group in range(_BLOCK_ROWS // 2):
        upper_P, lower_P = strip_RP[2 * group], strip_RP[2 * group + 1]
        for place in range(_STRIP_COLUMNS // 2):
            turned_PG[place, group] = np.uint64(upper_P[place]) | np.uint64(lower_P[place]) << np.uint64(32)


@compiled_within
def _weigh_across(turned_PG: Groups, across: PlaneTaps, left: int, out_RG: Groups) -> None:
    """Resamples horizontally. Rows beyond the result contain stale values, whose results are not used."""
    num_rows, num_groups = out_RG.shape
    four_4R = np.empty((4, _BLOCK_ROWS), np.int16)
    stride = turned_PG.strides[0]
    values, out, weights = turned_PG.ctypes.data, four_4R.ctypes.data, across.weights_NK.ctypes.data
    for group in range(num_groups):
        for place in range(4):
            x = min(4 * group + place, len(across.first_N) - 1)
            for row in range(0, num_rows, LANES):
                pair_sums(
                    np.int64(out + 2 * (place * _BLOCK_ROWS + row)),
                    np.int64(values + (across.first_N[x] - left) // 2 * stride + 4 * row),
                    np.int64(stride),
                    np.int64(weights + x * across.weights_NK.strides[0]),
                    np.int64((across.count_N[x] + 1) // 2),
                    np.int32(1 << (_WEIGHT_BITS - 1)),
                    np.int32(_WEIGHT_BITS),
                )
        for row in range(num_rows):
            out_RG[row, group] = _together(four_4R, row)


@compiled_within
def _together(values_4N: Values, place: int) -> np.uint64:
    """Packs four values into one, the first lowest: transposing then takes a quarter of the steps."""
    lower = _pair(np.uint16(values_4N[0, place]), np.uint16(values_4N[1, place]))
    upper = _pair(np.uint16(values_4N[2, place]), np.uint16(values_4N[3, place]))
    return np.uint64(lower) | np.uint64(upper) << np.uint64(32)
