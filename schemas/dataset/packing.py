"""Packs tokens to bytes and back: the layout of the ``codes`` column, for 1 to 256 bits per token.

Token i's L-bit index fills bits [iL, (i+1)L) of a little-endian bit stream, zero-padded to a byte.
Little-endian means that bit j of the stream is bit ``j % 8`` of byte ``j // 8``, so that an unaligned load, a
shift and a mask yield a token. How an index is made of bits or digits is said by its ``Code``; the functions
on bits have the order of BSQ-ViT's paper, in which code bit 0 is the most significant.

Axes: N tokens, L bits of a token, D dimensions of a code, G groups of a token.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.schemas.models.geometry import MAX_BITS_PER_TOKEN, Code

_WORD_BITS = 64

Bits = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.bool_] | npt.NDArray[np.int64]
"""[N, D]: bool if the code is bits, else int64 digits or (D = 1) indices; dimension 0 first."""
Buffer = bytes | bytearray | memoryview | npt.NDArray[np.uint8]


def packed_size(num_tokens: int, bits_per_token: int) -> int:
    """Return the bytes of ``num_tokens`` packed tokens: ceil(N·L / 8)."""
    _check_width(bits_per_token)
    return (num_tokens * bits_per_token + 7) // 8


def pack_codes(codes_ND: Codes, code: Code) -> bytes:
    """Pack codes [N, D], bool for bits and int64 otherwise, to ceil(N·L / 8) bytes.

    Raises ValueError if the shape, the dtype or a value does not fit ``code``.
    """
    if code.kind == "bits":
        if codes_ND.shape[1:] != (code.bits_per_token,):
            raise ValueError(f"bits must be [N, {code.bits_per_token}], not {list(codes_ND.shape)}")
        return pack_bits(codes_ND if code.first == "most" else codes_ND[:, ::-1])  # pyright: ignore[reportArgumentType]
    if codes_ND.shape[1:] != (code.dimensions,) or codes_ND.dtype != np.int64:
        raise ValueError(
            f"codes must be int64 [N, {code.dimensions}], not {codes_ND.dtype} {list(codes_ND.shape)}"
        )
    if bool((codes_ND < 0).any()) or bool((codes_ND > _largest(code)).any()):
        raise ValueError(f"a code is outside [0, {' × '.join(map(str, code.bases))})")
    return pack_integers((codes_ND * _weights(code)).sum(1), code.bits_per_token)


def unpack_codes(codes: Buffer, num_tokens: int, code: Code) -> Codes:
    """Unpack to codes [N, D], as ``pack_codes`` takes them.

    Raises ValueError if length or padding is wrong, or an index is not below the number of codes.
    """
    if code.kind == "bits":
        bits_NL = unpack_bits(codes, num_tokens, code.bits_per_token)
        return bits_NL if code.first == "most" else np.ascontiguousarray(bits_NL[:, ::-1])
    index_N = unpack_integers(codes, num_tokens, code.bits_per_token)
    if bool((index_N >= code.num_codes).any()):
        raise ValueError(f"a token is not below {code.num_codes}: the codes are damaged")
    if code.dimensions == 1:
        return index_N[:, None]
    return index_N[:, None] // _weights(code) % np.array(code.bases)


def _largest(code: Code) -> npt.NDArray[np.int64]:
    """Return the largest value of each dimension, int64 [D]."""
    return np.array([base - 1 for base in code.bases], np.int64)


def _weights(code: Code) -> npt.NDArray[np.int64]:
    """Return what a step of each dimension adds to the index, int64 [D]."""
    bases = code.bases if code.first != "most" else code.bases[::-1]
    weights = np.cumprod([1, *bases[:-1]], dtype=np.int64)
    return weights if code.first != "most" else weights[::-1]


def pack_bits(bits_NL: Bits) -> bytes:
    """Pack code bits [N, L] (bool, code bit 0 first) to ceil(N·L / 8) bytes.

    Raises ValueError if the array is not boolean [N, 1 ≤ L ≤ 256]; numbers are not converted to bits.
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
    num_groups = bits_per_token // group_bits
    # The stream of N tokens of L bits is one of N·G groups, of which a token's last group comes first.
    reversed_NG = unpack_integers(codes, num_tokens * num_groups, group_bits).reshape(num_tokens, num_groups)
    return np.ascontiguousarray(reversed_NG[:, ::-1])


def pack_integers(index_N: npt.NDArray[np.uint64] | npt.NDArray[np.int64], bits_per_token: int) -> bytes:
    """Pack indices [N] in [0, 2^L), for codes that are integers elsewhere.

    Raises ValueError if an index is negative or has more than L bits.
    """
    _check_word(bits_per_token)
    if index_N.ndim != 1 or index_N.dtype not in (np.dtype(np.int64), np.dtype(np.uint64)):
        raise ValueError(f"indices must be int64 or uint64 [N], not {index_N.dtype} {list(index_N.shape)}")
    limit = (1 << bits_per_token) - 1
    if len(index_N) and (int(index_N.min()) < 0 or int(index_N.max()) > limit):
        raise ValueError(f"an index is outside [0, 2^{bits_per_token})")
    bytes_N8 = np.ascontiguousarray(index_N, dtype="<u8").view(np.uint8).reshape(-1, 8)
    stream_NL = np.unpackbits(bytes_N8, axis=1, bitorder="little")[:, :bits_per_token]
    return np.packbits(stream_NL.reshape(-1), bitorder="little").tobytes()


def unpack_unsigned(codes: Buffer, num_tokens: int, bits_per_token: int) -> npt.NDArray[np.uint64]:
    """Unpack to one index per token, uint64 [N], for L ≤ 64.

    A run of 8/gcd(L, 8) tokens fills whole bytes, so each residue of that period is one strided, unaligned
    view of the buffer: a load, a shift and a mask per token. 32-bit words suffice up to L = 25 (a token
    starts at most 7 bits into its first byte), 64-bit words up to 57; wider tokens may need a ninth byte.
    """
    _check_word(bits_per_token)
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


def _check_word(bits_per_token: int) -> None:
    if not 1 <= bits_per_token <= _WORD_BITS:
        raise ValueError(f"an index has 1 to {_WORD_BITS} bits, not {bits_per_token}")


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
