"""Compiled unpacking of codes to tensors: writes pieces of packed clips into a caller's buffer.

The layout is defined in ``schemas.dataset.packing``. Kernels are compiled on first use, one per width and
form (then cached on disk), and release the GIL.

Axes: N tokens, L bits of a token, D dimensions of its code, G values of a token in the output.
"""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from math import gcd
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.reading.kernels.memory import load_bits, load_int, load_word, prefetch
from bitmill.schemas.compiled_code.numba_compile import compiled, compiled_within
from bitmill.schemas.dataset.packing import packed_size
from bitmill.schemas.models.geometry import Code

Int64s = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]

SPARE_BYTES = 8
"""Bytes that must be readable after the codes: a token is loaded as an eight-byte word."""

_WORD_BITS = 64

_LINE_BYTES = 64
_STEP_BITS = 8192
"""Of the codes that are unpacked between two rounds of prefetching: a kibibyte, 16 lines."""

PIECE_BYTES = 32

PIECE_COLUMNS = ("address", "first", "count", "target")
"""A piece, i.e. a run of consecutive tokens of a clip, as a row of int64 [num_pieces, 4]: the memory address
of the clip's first byte, the piece's first token in the clip, its number of tokens, and its first token in
the output.
"""


def address_of(array: npt.NDArray[Any]) -> int:
    """Memory address of an array's first byte. The array must outlive every use of it."""
    return int(array.__array_interface__["data"][0])


def bytes_at(address: int, count: int) -> Codes:
    """View memory as uint8 [count]; valid as long as the memory is."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * count).from_address(address))


def int64s_at(address: int, count: int) -> Int64s:
    """View memory as int64 [count]; valid as long as the memory is."""
    return np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(address))


def unpack_into(codes: Codes, out_N: npt.NDArray[Any], bits_per_token: int) -> None:
    """Unpack one clip's codes, uint8 [ceil(N·L / 8)], into indices ``out_N`` (int32 for L < 32, else int64).

    Raises ValueError on a wrong length or padding.
    """
    num_tokens = len(out_N)
    if len(codes) != packed_size(num_tokens, bits_per_token):
        raise ValueError(f"{num_tokens} tokens of {bits_per_token} bits are not {len(codes)} bytes")
    used = num_tokens * bits_per_token % 8
    if used and codes[-1] >> used:
        raise ValueError("the padding after the last token is not zero: the codes are damaged")
    spared = np.empty(len(codes) + SPARE_BYTES, np.uint8)
    spared[: len(codes)] = codes
    unpack_clip(spared, 0, out_N.reshape(-1, 1), bits_per_token)


def unpack_clip(codes: Codes, start: int, out_NG: npt.NDArray[Any], code: Code | int) -> None:
    """Unpack the clip that begins at ``start`` and is followed by ``SPARE_BYTES``, in ``out_NG``'s form.

    See ``unpack_pieces``; nothing is checked here either.
    """
    _kernels_of(code, out_NG).clip(codes, start, out_NG)


def unpack_pieces(runs_R3: Int64s, out_NG: npt.NDArray[Any], code: Code | int) -> None:
    """Write runs of pieces into ``out_NG``, both C-contiguous, releasing the GIL once for all of them.

    A run is a row of int64 [num_runs, 3]: the address of its first piece, the number of consecutive pieces,
    and the number of tokens to add to their targets. A number L as ``code`` is ``Code.of_bits(L)``.

    The output's type and width select the form, dimension 0 or group 0 first:

    - Integers [N, 1] receive stored indices, [N, D] digits or bits, [N, L/g] groups of g bits, which are
      ordered within a group as in the stored index.
    - Bool [N, L] receives bits.
    - Float32 [N, D] receives ±1/√L per bit, or FSQ's (digit − ⌊levels/2⌋) / ⌊levels/2⌋ per digit.

    Nothing is checked here: the caller keeps the arrays alive, with ``SPARE_BYTES`` after the codes, and
    pieces lie inside their clips and the output. An index that is no code, which only damage makes, gives the
    digits of its remainder. Raises ValueError if tokens do not have that many values.
    """
    _kernels_of(code, out_NG).pieces(runs_R3, out_NG)


class _Kernels(NamedTuple):
    """One kernel for runs of pieces, one for a whole clip."""

    pieces: Callable[..., None]
    clip: Callable[..., None]


def _kernels_of(code: Code | int, out_NG: npt.NDArray[Any]) -> _Kernels:
    if isinstance(code, int):
        return _kernels(out_NG.dtype.kind, code, out_NG.shape[1], None, "most")
    return _kernels(out_NG.dtype.kind, code.bits_per_token, out_NG.shape[1], code.levels, code.first)


@lru_cache(maxsize=64)
def _kernels(
    form: str, bits: int, columns: int, levels: tuple[int, ...] | None, first: Literal["most", "least"] | None
) -> _Kernels:
    """Kernels for a code and a form (a NumPy dtype kind), with shifts and divisors known to the compiler."""
    if levels is not None and (columns > 1 or form == "f"):
        group_bits, put = bits, _put_digits(levels, first, values=form == "f")
    else:
        group_bits = bits // columns
        if group_bits * columns != bits or not 1 <= group_bits <= _WORD_BITS:
            raise ValueError(
                f"{columns} columns do not take {bits} bits_per_token of up to {_WORD_BITS} each"
            )
        scale = float(np.float32(1.0 / np.sqrt(bits))) if form == "f" else 0.0
        put = _put_groups(group_bits, first, scale)
    unpack = (
        _unpack_words(bits, put)
        if bits <= _WORD_BITS
        else _unpack_wide(bits, group_bits, first == "least", put)
    )

    # Whole bytes, and whole periods of any width.
    step = max(1, _STEP_BITS // bits // 64) * 64

    @compiled
    def pieces(runs: Any, out: Any) -> None:
        for run in range(len(runs)):
            for number in range(runs[run, 1]):
                piece = runs[run, 0] + number * PIECE_BYTES
                address, first, left = load_int(piece), load_int(piece + 8), load_int(piece + 16)
                row = load_int(piece + 24) + runs[run, 2]
                following = piece
                if number + 1 < runs[run, 1]:
                    following = piece + PIECE_BYTES
                elif run + 1 < len(runs) and runs[run + 1, 1] > 0:
                    following = runs[run + 1, 0]
                ahead = load_int(following) + (load_int(following + 8) * bits >> 3)
                end = address + ((first + left) * bits >> 3)
                # The processor foresees a neighbour by itself, but not a shuffled piece, which lies anywhere.
                foreseen = end <= ahead < end + _LINE_BYTES
                while left:
                    now = left if foreseen else min(left, step - first % step)
                    for line in range(0, 0 if foreseen else now * bits >> 3, _LINE_BYTES):
                        prefetch(ahead + line)
                    unpack(address, first, out[row : row + now])
                    first, left, row, ahead = first + now, left - now, row + now, ahead + (now * bits >> 3)

    @compiled
    def clip(codes: Any, start: int, out: Any) -> None:
        unpack(np.int64(codes.ctypes.data) + start, 0, out)

    return _Kernels(pieces, clip)


def _unpack_words(bits: int, put: Callable[..., None]) -> Callable[..., None]:
    """Return the loop over tokens that fit a word.

    8/gcd(L, 8) tokens fill whole bytes: within such a period each token has a constant byte offset and shift
    and is one unaligned eight-byte load. Tokens before the first full period or after the last are loaded
    singly; so are all tokens of widths that may need a ninth byte.
    """
    period = 8 // gcd(bits, 8)
    period_bytes = bits * period // 8
    one_load = max(token * bits % 8 for token in range(period)) + bits <= _WORD_BITS
    mask = np.uint64((1 << bits) - 1)

    @compiled_within
    def unpack(address: int, first: int, out: Any) -> None:
        left = len(out)
        # Count rows from 0 within a slice: for an index that might be negative, numba checks the sign each
        # time and nothing is vectorized.
        row = 0
        while left and (not one_load or first % period):
            put(out, row, 0, load_bits(address, first * bits, bits), bits)
            first, left, row = first + 1, left - 1, row + 1
        base = address + first // period * period_bytes
        for _ in range(left // period):
            for k in range(period):
                word = load_word(base + (k * bits >> 3)) >> np.uint64(k * bits & 7)
                put(out, row + k, 0, word & mask, bits)
            base, row = base + period_bytes, row + period
        first += left // period * period
        for _ in range(left % period):
            put(out, row, 0, load_bits(address, first * bits, bits), bits)
            first, row = first + 1, row + 1

    return unpack


def _unpack_wide(bits: int, group_bits: int, least: bool, put: Callable[..., None]) -> Callable[..., None]:
    """Return the loop over tokens wider than a word; a load has as many groups as fit at any shift."""
    step = max(1, (_WORD_BITS - 7) // group_bits) * group_bits
    num_steps, rest = divmod(bits, step)
    own, last = step // group_bits, bits // group_bits

    @compiled_within
    def unpack(address: int, first: int, out: Any) -> None:
        for row in range(len(out)):
            start = (first + row) * bits
            for number in range(num_steps):
                column = number * own if least else last - (number + 1) * own
                put(out, row, column, load_bits(address, start + number * step, step), step)
            if rest:
                column = num_steps * own if least else 0
                put(out, row, column, load_bits(address, start + num_steps * step, rest), rest)

    return unpack


def _put_groups(group_bits: int, first: str | None, scale: float) -> Callable[..., None]:
    """Return what writes groups into a row from a column on; or ±scale per bit, if ``scale`` is not 0."""
    mask, least = np.uint64((1 << group_bits) - 1), first == "least"
    value = np.float32(scale)

    @compiled_within
    def put(out: Any, row: int, column: int, word: Any, bits: int) -> None:
        for group in range(bits // group_bits):
            shift = group * group_bits if least else bits - (group + 1) * group_bits
            part = (word >> np.uint64(shift)) & mask
            if value:
                out[row, column + group] = value if part else -value
            else:
                out[row, column + group] = part

    return put


def _put_digits(levels: tuple[int, ...], first: str | None, *, values: bool) -> Callable[..., None]:
    """Return what writes the digits of an index to a row: as integers, or as FSQ's values."""
    least = first == "least"

    @compiled_within
    def put(out: Any, row: int, column: int, word: Any, bits: int) -> None:  # noqa: ARG001
        for place in range(len(levels)):
            dimension = place if least else len(levels) - 1 - place
            level = np.uint64(levels[dimension])
            digit = word % level
            word = word // level
            if values:
                half = np.int64(level >> np.uint64(1))
                out[row, dimension] = np.float32(np.int64(digit) - half) / np.float32(half)
            else:
                out[row, dimension] = digit

    return put
