"""Mergeable statistics of a dataset's codes, for some clips, a shard, or all shards."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.auditing.codes.bit_planes import count_clips, count_groups
from bitmill.pipeline.auditing.codes.prefix_counts import PrefixCounts
from bitmill.pipeline.auditing.codes.used_codes import UsedCodes
from bitmill.pipeline.reading.kernels.unpack import address_of, unpack_pieces
from bitmill.schemas.dataset.packing import MAX_BITS_PER_TOKEN

MAX_FRAMES = 128
"""Number of frame numbers counted separately; the last one also counts all later frames."""
MAX_GROUP_BITS = 12
NUM_STRETCHES = 64

_CHUNK_TOKENS = 1 << 15
"""Tokens unpacked at a time, so that they stay in the processor's cache."""

Int64s = npt.NDArray[np.int64]


class CodeStatistics:
    """Counts over clips. Merging is associative and commutative; memory is bounded; picklable.

    Arrays count bits by their place in a token's index, the least significant first: code bit 0 is the last.
    """

    def __init__(self, bits_per_token: int, group_bits: int | None = None) -> None:
        """``group_bits`` divides L; the default is L's largest divisor up to ``MAX_GROUP_BITS``.

        Raises ValueError for invalid widths.
        """
        if not 1 <= bits_per_token <= MAX_BITS_PER_TOKEN:
            raise ValueError(f"bits_per_token must be 1 to {MAX_BITS_PER_TOKEN}, not {bits_per_token}")
        self.bits_per_token = bits_per_token
        self.group_bits = group_bits or _group_bits(bits_per_token)
        if bits_per_token % self.group_bits or self.group_bits > 16:
            raise ValueError(
                f"groups of {self.group_bits} bits (16 at most) do not divide {bits_per_token} bits"
            )
        self.shared_LL = np.zeros((bits_per_token, bits_per_token), np.int64)
        """Below the diagonal: number of tokens in which both bits are one."""
        self.groups_GK = np.zeros((bits_per_token // self.group_bits, 1 << self.group_bits), np.int64)
        self.frames_FL = np.zeros((MAX_FRAMES, bits_per_token), np.int64)
        self.frame_tokens_F = np.zeros(MAX_FRAMES, np.int64)
        self.stretches_BL = np.zeros((NUM_STRETCHES, bits_per_token), np.int64)
        self.stretch_tokens_B = np.zeros(NUM_STRETCHES, np.int64)
        self.prefixes = PrefixCounts(bits_per_token)
        self.used = UsedCodes(bits_per_token)
        self.tallies = np.zeros(4, np.int64)
        """Pairs of consecutive frames, equal ones among them, clips, and clips of several equal frames."""

    def add_clips(
        self,
        codes: npt.NDArray[np.uint8],
        starts: Int64s,
        shapes_n3: Int64s,
        source_prefixes: Sequence[str],
        stretch: int,
    ) -> None:
        """Count n clips: each begins at ``starts`` [n] in ``codes``, and is as long as its shape needs.

        ``codes`` must be followed by ``SPARE_BYTES``. ``stretch`` is the part of the dataset that contains
        the clips, in [0, ``NUM_STRETCHES``).
        """
        shapes_n3 = np.ascontiguousarray(shapes_n3, np.int64)
        sources = self.prefixes.rows_of(source_prefixes)
        num_tokens = shapes_n3.prod(1)
        for clips in _chunks(num_tokens):
            tokens = self._unpacked(codes, starts[clips], num_tokens[clips])
            self.used.add(tokens)
            count_groups(tokens, self.group_bits, self.groups_GK)
            count_clips(
                tokens,
                shapes_n3[clips],
                sources[clips],
                self.frames_FL,
                self.prefixes.ones_SL,
                self.stretches_BL[stretch],
                self.frame_tokens_F,
                self.prefixes.tokens_S,
                self.shared_LL,
                self.tallies,
            )
        self.stretch_tokens_B[stretch] += num_tokens.sum()

    def merge(self, other: "CodeStatistics") -> None:
        """Add another's counts. Raises ValueError if its tokens have another width."""
        if (self.bits_per_token, self.group_bits) != (other.bits_per_token, other.group_bits):
            raise ValueError("statistics of tokens of different widths cannot be merged")
        self.shared_LL += other.shared_LL
        self.groups_GK += other.groups_GK
        self.frames_FL += other.frames_FL
        self.frame_tokens_F += other.frame_tokens_F
        self.stretches_BL += other.stretches_BL
        self.stretch_tokens_B += other.stretch_tokens_B
        self.tallies += other.tallies
        self.prefixes.merge(other.prefixes)
        self.used.merge(other.used)

    def _unpacked(
        self, codes: npt.NDArray[np.uint8], starts: Int64s, num_tokens: Int64s
    ) -> npt.NDArray[np.uint64]:
        """Token indices of the clips, end to end."""
        ends = num_tokens.cumsum()
        out = np.empty((int(ends[-1]), 1), np.uint64)
        pieces_P4 = np.zeros((len(starts), 4), np.int64)
        pieces_P4[:, 0] = address_of(codes) + starts
        pieces_P4[:, 2] = num_tokens
        pieces_P4[:, 3] = ends - num_tokens
        unpack_pieces(np.array([[address_of(pieces_P4), len(pieces_P4), 0]]), out, self.bits_per_token)
        return out[:, 0]


def _chunks(num_tokens: Int64s) -> list[slice]:
    """Split clips into runs of about ``_CHUNK_TOKENS`` tokens; a larger clip is a run by itself."""
    if not len(num_tokens):
        return []
    number = (num_tokens.cumsum() - num_tokens) // _CHUNK_TOKENS
    cuts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(num_tokens)]
    return [slice(first, end) for first, end in pairwise(cuts)]


def _group_bits(bits_per_token: int) -> int:
    divisors = (bits for bits in range(1, MAX_GROUP_BITS + 1) if bits_per_token % bits == 0)
    return max(divisors)
