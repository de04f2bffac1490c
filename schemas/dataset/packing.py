"""Packs bits to bytes and back: the layout of the ``codes`` column, for 1 to 64 bits per token.

Token i's L-bit index reads its code bits most significant first (the paper's order: code bit 0 is the most
significant); it fills bits [iL, (i+1)L) of a little-endian bit stream, zero-padded to a byte. Little-endian
means that bit j of the stream is bit ``j % 8`` of byte ``j // 8``, so that an unaligned load, a shift and a
mask yield a token.

Axes: N tokens, L bits of a token, G groups of a token.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

MAX_BITS_PER_TOKEN = 64

Bits = npt.NDArray[np.bool_]
Buffer = bytes | bytearray | memoryview | npt.NDArray[np.uint8]


def packed_size(num_tokens: int, bits_per_token: int) -> int:
    """Return the bytes of ``num_tokens`` packed tokens: ceil(N·L / 8)."""
    _check_width(bits_per_token)
    return (num_tokens * bits_per_token + 7) // 8


def pack_bits(bits_NL: Bits) -> bytes:
    """Pack code bits [N, L] (bool, code bit 0 first) to ceil(N·L / 8) bytes.

    Raises ValueError if the array is not boolean [N, 1 ≤ L ≤ 64]; numbers are not converted to bits.
    """
    if bits_NL.dtype != np.bool_ or bits_NL.ndim != 2:
        raise ValueError(f"bits must be bool [N, L], not {bits_NL.dtype} {list(bits_NL.shape)}")
    _check_width(bits_NL.shape[1])
    # The index's least significant bit is the last code bit and comes first in the stream.
    return np.packbits(bits_NL[:, ::-1].reshape(-1), bitorder="little").tobytes()


def unpack_bits(codes: Buffer, num_tokens: int, bits_per_token: int) -> Bits:
    """Unpack to code bits, bool [N, L]. Raises ValueError if length or padding is wrong."""
    packed = _checked(codes, num_tokens, bits_per_token)
    flat = np.unpackbits(packed, count=num_tokens * bits_per_token, bitorder="little")
    return np.ascontiguousarray(flat.reshape(num_tokens, bits_per_token)[:, ::-1]).view(np.bool_)


def unpack_values(codes: Buffer, num_tokens: int, bits_per_token: int) -> npt.NDArray[np.float32]:
    """Unpack to corners of the unit sphere: float32 [N, L], each ±1/√L (the decoder's input)."""
    values_NL = unpack_bits(codes, num_tokens, bits_per_token).view(np.uint8).astype(np.float32)
    scale = np.float32(1.0 / np.sqrt(bits_per_token))
    values_NL *= 2 * scale
    values_NL -= scale
    return values_NL


def unpack_integers(codes: Buffer, num_tokens: int, bits_per_token: int) -> npt.NDArray[np.int64]:
    """Unpack to one index per token, int64 [N], for L ≤ 63. Raises ValueError for L = 64."""
    if bits_per_token > 63:
        raise ValueError(f"{bits_per_token} bits do not fit int64; use group indices instead")
    return unpack_unsigned(codes, num_tokens, bits_per_token).view(np.int64)


def unpack_groups(
    codes: Buffer, num_tokens: int, bits_per_token: int, group_bits: int
) -> npt.NDArray[np.int64]:
    """Unpack to group indices, int64 [N, G = L/g]; group 0 contains the first g code bits.

    Each index is in [0, 2^g). Raises ValueError if g does not divide L, or is over 63.
    """
    if group_bits < 1 or bits_per_token % group_bits or group_bits > 63:
        raise ValueError(f"groups of {group_bits} bits do not split {bits_per_token} bits into int64 indices")
    index_N = unpack_unsigned(codes, num_tokens, bits_per_token)
    num_groups = bits_per_token // group_bits
    mask = np.uint64((1 << group_bits) - 1)
    out = np.empty((num_tokens, num_groups), dtype=np.uint64)
    for group in range(num_groups):
        shifted_N = index_N >> np.uint64(bits_per_token - (group + 1) * group_bits)
        np.bitwise_and(shifted_N, mask, out=out[:, group])
    return out.view(np.int64)


def pack_integers(index_N: npt.NDArray[np.uint64] | npt.NDArray[np.int64], bits_per_token: int) -> bytes:
    """Pack indices [N] in [0, 2^L), for codes that are integers elsewhere.

    Raises ValueError if an index is negative or has more than L bits.
    """
    _check_width(bits_per_token)
    if index_N.ndim != 1 or index_N.dtype not in (np.dtype(np.int64), np.dtype(np.uint64)):
        raise ValueError(f"indices must be int64 or uint64 [N], not {index_N.dtype} {list(index_N.shape)}")
    limit = (1 << bits_per_token) - 1
    if len(index_N) and (int(index_N.min()) < 0 or int(index_N.max()) > limit):
        raise ValueError(f"an index is outside [0, 2^{bits_per_token})")
    bytes_N8 = np.ascontiguousarray(index_N, dtype="<u8").view(np.uint8).reshape(-1, 8)
    stream_NL = np.unpackbits(bytes_N8, axis=1, bitorder="little")[:, :bits_per_token]
    return np.packbits(stream_NL.reshape(-1), bitorder="little").tobytes()


def unpack_unsigned(codes: Buffer, num_tokens: int, bits_per_token: int) -> npt.NDArray[np.uint64]:
    """Unpack to one index per token, uint64 [N], for every width.

    A run of 8/gcd(L, 8) tokens fills whole bytes, so each residue of that period is one strided, unaligned
    view of the buffer: a load, a shift and a mask per token. 32-bit words suffice up to L = 25 (a token
    starts at most 7 bits into its first byte), 64-bit words up to 57; wider tokens may need a ninth byte.
    """
    packed = _checked(codes, num_tokens, bits_per_token)
    if not num_tokens:
        return np.empty(0, dtype=np.uint64)
    period_tokens = 8 // int(np.gcd(bits_per_token, 8))
    period_bytes = bits_per_token * period_tokens // 8
    num_periods = -(-num_tokens // period_tokens)
    # Views reach up to 9 bytes past a token's first byte.
    padded = np.zeros(num_periods * period_bytes + 16, dtype=np.uint8)
    padded[: len(packed)] = packed
    out = np.empty((num_periods, period_tokens), dtype=np.uint64)
    word = np.uint32 if bits_per_token <= 25 else np.uint64
    mask = word((1 << bits_per_token) - 1)
    for residue in range(period_tokens):
        first_byte, shift = divmod(residue * bits_per_token, 8)
        little = np.dtype(word).newbyteorder("<")
        words = _strided(padded, little, first_byte, num_periods, period_bytes) >> word(shift)
        if shift + bits_per_token > 64:
            ninth = _strided(padded, np.dtype("u1"), first_byte + 8, num_periods, period_bytes)
            words |= ninth.astype(np.uint64) << np.uint64(64 - shift)
        words &= mask
        out[:, residue] = words
    return out.reshape(-1)[:num_tokens]


def _strided(
    buffer: npt.NDArray[np.uint8], dtype: np.dtype[Any], offset: int, count: int, stride: int
) -> npt.NDArray[Any]:
    return np.ndarray((count,), dtype=dtype, buffer=buffer.data, offset=offset, strides=(stride,))


def _check_width(bits_per_token: int) -> None:
    if not 1 <= bits_per_token <= MAX_BITS_PER_TOKEN:
        raise ValueError(f"bits_per_token must be 1 to {MAX_BITS_PER_TOKEN}, not {bits_per_token}")


def _checked(codes: Buffer, num_tokens: int, bits_per_token: int) -> npt.NDArray[np.uint8]:
    packed = np.frombuffer(codes, dtype=np.uint8)
    expected = packed_size(num_tokens, bits_per_token)
    if len(packed) != expected:
        raise ValueError(
            f"{num_tokens} tokens of {bits_per_token} bits are {expected} bytes, not {len(packed)}"
        )
    used = num_tokens * bits_per_token % 8
    if used and packed[-1] >> used:
        raise ValueError("the padding after the last token is not zero: the codes are damaged")
    return packed
