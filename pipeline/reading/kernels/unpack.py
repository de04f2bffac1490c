"""Compiled unpacking of codes to tensors: writes pieces of packed clips into a caller's buffer.

The layout is defined in ``schemas.dataset.packing``. Kernels are compiled on first use, one per width and
form (then cached on disk), and release the GIL.

Axes: N tokens, L bits of a token, G groups of a token.
"""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from math import gcd
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from bitmill.schemas.compiled_code.numba_compile import compiled, compiled_within
from bitmill.schemas.dataset.packing import MAX_BITS_PER_TOKEN, packed_size

Int64s = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]

SPARE_BYTES = 8
"""Bytes that must be readable after the codes: a token is loaded as an eight-byte word."""

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
    """Unpack one clip's codes, uint8 [ceil(N·L / 8)], into ``out_N`` (int32 for L < 32, else int64).

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


def unpack_clip(codes: Codes, start: int, out_NG: npt.NDArray[Any], bits_per_token: int) -> None:
    """Unpack the clip that begins at ``start`` and is followed by ``SPARE_BYTES``, in ``out_NG``'s form.

    See ``unpack_pieces``; nothing is checked here either.
    """
    _kernels(out_NG.dtype.kind, bits_per_token, out_NG.shape[1]).clip(codes, start, out_NG)


def unpack_pieces(runs_R3: Int64s, out_NG: npt.NDArray[Any], bits_per_token: int) -> None:
    """Write runs of pieces into ``out_NG``, both C-contiguous, releasing the GIL once for all of them.

    A run is a row of int64 [num_runs, 3]: the address of its first piece, the number of consecutive pieces,
    and the number of tokens to add to their targets.

    The output's dtype selects the form: integers receive group indices [N, G] in [0, 2^(L/G)), group 0 from
    the first code bits (with G = 1, token indices); bool receives bits and float32 values ±1/√L, both [N, L],
    code bit 0 first. Nothing is checked here: the caller keeps the arrays alive, with ``SPARE_BYTES`` after
    the codes, and pieces lie inside their clips and the output.
    """
    _kernels(out_NG.dtype.kind, bits_per_token, out_NG.shape[1]).pieces(runs_R3, out_NG)


class _Kernels(NamedTuple):
    """One kernel for runs of pieces, one for a whole clip."""

    pieces: Callable[..., None]
    clip: Callable[..., None]


@lru_cache(maxsize=64)
def _kernels(form: str, bits: int, columns: int) -> _Kernels:
    """Kernels for a width and a form (a NumPy dtype kind), with shifts and strides known to the compiler.

    8/gcd(L, 8) tokens fill whole bytes: within such a period each token has a constant byte offset and shift
    and is one unaligned eight-byte load. Tokens before the first full period or after the last are loaded
    singly; so are all tokens of widths that may need a ninth byte.
    """
    if not 1 <= bits <= MAX_BITS_PER_TOKEN:
        raise ValueError(f"bits_per_token must be 1 to {MAX_BITS_PER_TOKEN}, not {bits}")
    period = 8 // gcd(bits, 8)
    period_bytes = bits * period // 8
    one_load = max(token * bits % 8 for token in range(period)) + bits <= 64
    mask = np.uint64((1 << bits) - 1)
    group_bits = 1 if form in "bf" else bits // columns
    scale = np.float32(1.0 / np.sqrt(bits)) if form == "f" else np.float32(0)

    @compiled_within
    def unpack(address: int, first: int, out: Any) -> None:
        left = len(out)
        # Count rows from 0 within a slice: for an index that might be negative, numba checks the sign each
        # time and nothing is vectorized.
        row = 0
        while left and (not one_load or first % period):
            _put(out, row, _lone_token(address, first, bits), bits, group_bits, scale)
            first, left, row = first + 1, left - 1, row + 1
        base = address + first // period * period_bytes
        for _ in range(left // period):
            for k in range(period):
                word = _load_word(base + (k * bits >> 3)) >> np.uint64(k * bits & 7)
                _put(out, row + k, word & mask, bits, group_bits, scale)
            base, row = base + period_bytes, row + period
        first += left // period * period
        for _ in range(left % period):
            _put(out, row, _lone_token(address, first, bits), bits, group_bits, scale)
            first, row = first + 1, row + 1

    @compiled
    def pieces(runs: Any, out: Any) -> None:
        for run in range(len(runs)):
            for number in range(runs[run, 1]):
                piece = runs[run, 0] + number * PIECE_BYTES
                row = _load_int(piece + 24) + runs[run, 2]
                unpack(_load_int(piece), _load_int(piece + 8), out[row : row + _load_int(piece + 16)])

    @compiled
    def clip(codes: Any, start: int, out: Any) -> None:
        unpack(np.int64(codes.ctypes.data) + start, 0, out)

    return _Kernels(pieces, clip)


def _type_load(typing_context: Any, address: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ARG001
    """Load eight bytes from any address, little-endian, with one unaligned load."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(address), generate


_load_word: Any = intrinsic(_type_load)


@compiled_within
def _load_int(address: int) -> Any:
    return np.int64(_load_word(address))


@compiled_within
def _lone_token(address: int, token: int, bits: int) -> Any:
    """Load one token at any position of a clip."""
    position = token * bits
    byte, shift = address + (position >> 3), position & 7
    word = _load_word(byte) >> np.uint64(shift)
    if shift + bits > 64:
        word |= _load_word(byte + 1) >> np.uint64(56) << np.uint64(64 - shift)
    if bits < 64:
        word &= (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
    return word


@compiled_within
def _put(out: Any, row: int, word: Any, bits: int, group_bits: int, scale: Any) -> None:  # noqa: PLR0917
    """Write one token as a row of the output: its groups, or ±scale per bit if ``scale`` is nonzero.

    Called with constants, so that the compiler keeps only one of the branches, unrolled.
    """
    mask = ~np.uint64(0) >> np.uint64(64 - group_bits)
    for group in range(bits // group_bits):
        part = (word >> np.uint64(bits - (group + 1) * group_bits)) & mask
        if scale:
            out[row, group] = scale if part else -scale
        else:
            out[row, group] = part
