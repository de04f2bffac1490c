"""Converts code counts into the report's shares, entropies and correlations."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bitmill.pipeline.auditing.codes.statistics import MAX_FRAMES, NUM_STRETCHES, CodeStatistics
from bitmill.schemas.reports.audit_report import BitsOf, CodeHealth

STUCK_SHARE = 0.001
"""A bit is stuck if it takes its rarer value in at most this share of tokens."""
_SHOWN_PREFIXES = 64
_MAX_EXACT_BITS_OF_FLOAT = 53

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


def code_health(statistics: CodeStatistics) -> CodeHealth:
    """The report's section on codes. Bits are in code order, code bit 0 first."""
    tokens = int(statistics.stretch_tokens_B.sum())
    ones_L = statistics.stretches_BL.sum(0)[::-1]
    shares_L = ones_L / max(tokens, 1)
    group_entropies = [entropy(counts) for counts in statistics.groups_GK]
    pairs, repeated, clips, still = statistics.tallies.tolist()
    bits = statistics.bits_per_token
    rare_L = np.minimum(shares_L, 1 - shares_L)
    return CodeHealth(
        tokens=tokens,
        bits_per_token=bits,
        ones=shares_L.tolist(),
        entropies=bit_entropies(shares_L).tolist(),
        correlation=correlation(tokens, ones_L, statistics.shared_LL[::-1, ::-1]).tolist(),
        stuck_bits=np.flatnonzero(rare_L <= STUCK_SHARE).tolist() if tokens else [],
        used_codes=statistics.used.count,
        used_codes_error=statistics.used.relative_error,
        possible_codes=1 << bits if bits <= _MAX_EXACT_BITS_OF_FLOAT else None,
        group_bits=statistics.group_bits,
        group_entropies=group_entropies,
        order0_bits_per_token=sum(group_entropies),
        by_frame=_by_frame(statistics),
        by_source=[
            _bits_of("all others" if prefix is None else prefix, ones, count)
            for prefix, ones, count in statistics.prefixes.largest(_SHOWN_PREFIXES)
        ],
        along=[
            _bits_of(f"{number + 1} of {NUM_STRETCHES}", ones, int(count))
            for number, (ones, count) in enumerate(
                zip(statistics.stretches_BL, statistics.stretch_tokens_B, strict=True)
            )
            if count
        ],
        pairs_of_frames=pairs,
        repeated_frames=repeated,
        clips=clips,
        still_clips=still,
    )


def bit_entropies(shares: Float64s) -> Float64s:
    """Entropy of bits that are one in these shares of tokens, in bits, 0 to 1."""
    rare = np.minimum(shares, 1 - shares)
    # 0·log 0 is 0.
    safe = np.where(rare > 0, rare, 0.5)
    terms = safe * np.log2(safe) + (1 - safe) * np.log2(1 - safe)
    return np.where(rare > 0, -terms, 0.0)


def entropy(counts: Int64s) -> float:
    """Entropy of a histogram, in bits; 0 if it is empty."""
    shares = counts[counts > 0] / max(int(counts.sum()), 1)
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def correlation(tokens: int, ones_L: Int64s, shared_LL: Int64s) -> Float64s:
    """Pearson correlation [L, L], from counts of ones and of shared ones (one side of the diagonal)."""
    both = (np.tril(shared_LL, -1) + np.triu(shared_LL, 1)).astype(np.float64)
    both += both.T
    np.fill_diagonal(both, ones_L)
    ones = ones_L.astype(np.float64)
    spread = np.sqrt(ones * (tokens - ones))
    changes = np.outer(spread, spread) > 0
    scale = np.where(changes, np.outer(spread, spread), 1.0)
    return np.where(changes, np.clip((tokens * both - np.outer(ones, ones)) / scale, -1, 1), 0.0)


def _by_frame(statistics: CodeStatistics) -> list[BitsOf]:
    names = [*map(str, range(MAX_FRAMES - 1)), f"{MAX_FRAMES - 1} and later"]
    counted = zip(names, statistics.frames_FL, statistics.frame_tokens_F, strict=True)
    return [_bits_of(name, ones, int(count)) for name, ones, count in counted if count]


def _bits_of(value: str, ones_L: Any, tokens: int) -> BitsOf:
    entropies = bit_entropies(ones_L[::-1] / tokens)
    weakest = int(entropies.argmin())
    return BitsOf(
        value=value,
        tokens=tokens,
        mean_entropy=float(entropies.mean()),
        weakest_entropy=float(entropies[weakest]),
        weakest_bit=weakest,
    )
