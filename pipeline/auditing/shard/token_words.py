"""Unpacks the tokens of a row group's clips to words, for counts and checks.

Axes: n clips, N tokens of them, W words of 64 bits of a token, the least significant bits first.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.reading.kernels.unpack import address_of, unpack_pieces
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.dataset.packing import packed_size

WORD_BITS = 64

_CHUNK_TOKENS = 1 << 15
"""Tokens unpacked at a time, so that they stay in the processor's cache."""

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]


def token_words(
    codes: Bytes, starts_n: Int64s, num_tokens_n: Int64s, bits_per_token: int
) -> Iterator[tuple[slice, Words]]:
    """Yield runs of clips with their tokens' words [W, N], clips end to end.

    Clips begin at ``starts_n`` in ``codes``, which must be followed by ``unpack.SPARE_BYTES``.
    """
    for clips in _chunks(num_tokens_n):
        unpack = _words if bits_per_token <= WORD_BITS else _wide_words
        yield clips, unpack(codes, starts_n[clips], num_tokens_n[clips], bits_per_token)


def _words(codes: Bytes, starts: Int64s, num_tokens: Int64s, bits_per_token: int) -> Words:
    ends = num_tokens.cumsum()
    words_N1 = np.empty((int(ends[-1]), 1), np.uint64)
    pieces_P4 = np.zeros((len(starts), 4), np.int64)
    pieces_P4[:, 0] = address_of(codes) + starts
    pieces_P4[:, 2] = num_tokens
    pieces_P4[:, 3] = ends - num_tokens
    unpack_pieces(np.array([[address_of(pieces_P4), len(pieces_P4), 0]]), words_N1, bits_per_token)
    return words_N1.reshape(1, -1)


def _wide_words(codes: Bytes, starts: Int64s, num_tokens: Int64s, bits_per_token: int) -> Words:
    num_words = -(-bits_per_token // WORD_BITS)
    bits = np.zeros((int(num_tokens.sum()), num_words * WORD_BITS), np.uint8)
    first = 0
    for start, count in zip(starts.tolist(), num_tokens.tolist(), strict=True):
        packed = codes[start : start + packed_size(count, bits_per_token)]
        flat = np.unpackbits(packed, count=count * bits_per_token, bitorder="little")
        bits[first : first + count, :bits_per_token] = flat.reshape(count, bits_per_token)
        first += count
    return np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little").view("<u8").T)


def _chunks(num_tokens: Int64s) -> list[slice]:
    """Split clips into runs of about ``_CHUNK_TOKENS`` tokens; a larger clip is a run by itself."""
    if not len(num_tokens):
        return []
    number = (num_tokens.cumsum() - num_tokens) // _CHUNK_TOKENS
    cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(num_tokens)]
    return [slice(first, end) for first, end in pairwise(cuts)]
