"""Mergeable statistics of a dataset's codes, for some clips, a shard, or all shards."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.auditing.codes.bit_planes import count_bits, count_groups
from bitmill.pipeline.auditing.codes.prefix_counts import PrefixCounts
from bitmill.pipeline.auditing.codes.used_codes import UsedCodes
from bitmill.pipeline.auditing.codes.value_counts import count_rows, count_values
from bitmill.pipeline.auditing.shard.token_words import Words, token_words
from bitmill.schemas.arrays import Int64s
from bitmill.schemas.models.geometry import Code

MAX_FRAMES = 128
"""Number of token rows counted separately; the last one also counts all later ones of a clip."""
MAX_SCALES = 32
"""Number of scales counted separately; the last one also counts all later ones of a pyramid."""
MAX_GROUP_BITS = 12
NUM_STRETCHES = 64
MAX_VALUES = 1 << 20
"""Values of all dimensions of digits or an index, up to which each is counted."""
MAX_VALUES_BY_ROW = 1 << 10
"""Values of digits up to which each is counted by token row and by source, too."""


class CodeStatistics:
    """Counts over clips. Merging is associative and commutative; memory is bounded; picklable.

    Of bits it counts ones, of digits and of an index each value, V columns: bits and digits in the order of
    significance in a token's index, the least significant first.
    """

    def __init__(self, code: Code, *, pyramids: bool = False) -> None:
        self.code = code
        self.bases = np.array(code.bases if code.first != "most" else code.bases[::-1], np.int64)
        """Number of values of each dimension, in the order of the columns."""
        is_bits, num_values = code.kind == "bits", sum(code.bases)
        self.group_bits = _group_bits(code.bits_per_token) if is_bits else 0
        pairs = code.bits_per_token if is_bits else 0
        self.shared_LL = np.zeros((pairs, pairs), np.int64)
        """Of bits, below the diagonal: number of tokens in which both bits are one."""
        num_groups = code.bits_per_token // self.group_bits if is_bits else 0
        self.groups_GK = np.zeros((num_groups, 1 << self.group_bits), np.int64)
        total = code.bits_per_token if is_bits else num_values if num_values <= MAX_VALUES else 0
        self.counts_V = np.zeros(total, np.int64)
        # An entropy of an index is meaningless for fewer tokens than codes, as a row or a source may have.
        is_split = is_bits or (code.kind == "digits" and num_values <= MAX_VALUES_BY_ROW)
        parts = total if is_split else 0
        self.frames_FV = np.zeros((MAX_FRAMES, parts), np.int64)
        self.frame_tokens_F = np.zeros(MAX_FRAMES, np.int64)
        self.stretches_BV = np.zeros((NUM_STRETCHES, parts), np.int64)
        self.stretch_tokens_B = np.zeros(NUM_STRETCHES, np.int64)
        self.prefixes = PrefixCounts(parts)
        self.scales_SV = np.zeros((MAX_SCALES if pyramids else 0, parts), np.int64)
        self.scale_tokens_S = np.zeros(len(self.scales_SV), np.int64)
        self.used = UsedCodes(code.bits_per_token)
        self.tallies = np.zeros(4, np.int64)
        """Pairs of consecutive token rows, equal ones among them, clips, and clips of several equal rows."""

    def add_clips(
        self,
        codes: npt.NDArray[np.uint8],
        starts: Int64s,
        rows_n2: Int64s,
        source_prefixes: Sequence[str],
        stretch: int,
        *,
        scales: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Count n clips: each begins at ``starts`` [n] in ``codes``, and has so many token rows and tokens in
        each, ``rows_n2`` (all tokens of a pyramid are one row).

        ``codes`` must be followed by ``SPARE_BYTES``. ``stretch`` is the part of the dataset that contains
        the clips, in [0, ``NUM_STRETCHES``). ``scales``, of pyramids, are the tokens of each clip's scales.
        """
        rows_n2 = np.ascontiguousarray(rows_n2, np.int64)
        sources = self.prefixes.rows_of(source_prefixes)
        num_tokens = rows_n2.prod(1)
        counts_V = np.zeros_like(self.counts_V)
        for clips, words_WN in token_words(codes, starts, num_tokens, self.code.bits_per_token):
            self.used.add(words_WN)
            tokens = (self.frame_tokens_F, self.prefixes.tokens_S, self.tallies)
            count_rows(words_WN, rows_n2[clips], sources[clips], *tokens)
            self._count(words_WN, rows_n2[clips], sources[clips], counts_V)
            if scales is not None:
                self._count_scales(words_WN, scales[clips])
        self.counts_V += counts_V
        self.stretches_BV[stretch] += counts_V[: self.stretches_BV.shape[1]]
        self.stretch_tokens_B[stretch] += num_tokens.sum()

    def _count(self, words_WN: Words, rows_n2: Int64s, sources: Int64s, counts_V: Int64s) -> None:
        split = (rows_n2, sources)
        if self.code.kind == "bits":
            count_groups(words_WN, self.group_bits, self.groups_GK)
            counted = (self.frames_FV, self.prefixes.counts_SV, counts_V, self.shared_LL)
            count_bits(words_WN, *split, *counted)
        elif len(counts_V):
            count_values(words_WN, *split, self.bases, self.frames_FV, self.prefixes.counts_SV, counts_V)

    def _count_scales(self, words_WN: Words, scales: Sequence[Sequence[int]]) -> None:
        sizes = np.array([size for own in scales for size in own], np.int64)
        numbers = np.array([min(n, MAX_SCALES - 1) for own in scales for n in range(len(own))], np.int64)
        np.add.at(self.scale_tokens_S, numbers, sizes)
        # To the kernels each scale is a clip of one row, from the source of that number; the rest is spare.
        split = (np.stack((np.ones_like(sizes), sizes), axis=1), numbers)
        frames_1V = np.zeros((1, self.scales_SV.shape[1]), np.int64)
        counted = (frames_1V, self.scales_SV, np.zeros_like(self.counts_V))
        if self.code.kind == "bits":
            count_bits(words_WN, *split, *counted, np.zeros_like(self.shared_LL))
        elif self.scales_SV.shape[1]:
            count_values(words_WN, *split, self.bases, *counted)

    def merge(self, other: "CodeStatistics") -> None:
        """Add another's counts. Raises ValueError if its tokens have another code."""
        if self.code != other.code:
            raise ValueError("statistics of tokens of different codes cannot be merged")
        self.shared_LL += other.shared_LL
        self.groups_GK += other.groups_GK
        self.counts_V += other.counts_V
        self.frames_FV += other.frames_FV
        self.frame_tokens_F += other.frame_tokens_F
        self.stretches_BV += other.stretches_BV
        self.stretch_tokens_B += other.stretch_tokens_B
        self.scales_SV += other.scales_SV
        self.scale_tokens_S += other.scale_tokens_S
        self.tallies += other.tallies
        self.prefixes.merge(other.prefixes)
        self.used.merge(other.used)


def _group_bits(bits_per_token: int) -> int:
    """L's largest divisor up to ``MAX_GROUP_BITS``."""
    return max(bits for bits in range(1, MAX_GROUP_BITS + 1) if bits_per_token % bits == 0)
