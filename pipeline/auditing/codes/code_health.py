"""Converts code counts into the report's shares, entropies and correlations."""

from collections.abc import Iterable, Iterator
from math import log2
from typing import Any

import numpy as np

from bitmill.pipeline.auditing.codes.code_counts import MAX_FRAMES, NUM_STRETCHES, CodeStatistics
from bitmill.schemas.arrays import Float64s, Int64s
from bitmill.schemas.reports.audit_report import BitsOf, CodeHealth

STUCK_SHARE = 0.001
"""A bit is stuck if it takes its rarer value, a digit another than its most frequent one, in at most this
share of tokens."""
_SHOWN_PREFIXES = 64
_SHOWN_VALUES = 1 << 12
_MAX_EXACT_BITS_OF_FLOAT = 53


def code_health(statistics: CodeStatistics) -> CodeHealth:
    """The report's section on codes, by dimension, dimension 0 first."""
    code, tokens = statistics.code, int(statistics.stretch_tokens_B.sum())
    of_kind = _bits(statistics, tokens) if code.kind == "bits" else _values(statistics, tokens)
    pairs, repeated, clips, still = statistics.tallies.tolist()
    names = [*map(str, range(MAX_FRAMES - 1)), f"{MAX_FRAMES - 1} and later"]
    scales = [str(number + 1) for number in range(len(statistics.scales_SV))]
    prefixes = (
        ("all others" if prefix is None else prefix, counts, count)
        for prefix, counts, count in statistics.prefixes.largest(_SHOWN_PREFIXES)
    )
    stretches = [f"{number + 1} of {NUM_STRETCHES}" for number in range(NUM_STRETCHES)]
    return CodeHealth(
        kind=code.kind,
        tokens=tokens,
        bits_per_token=code.bits_per_token,
        used_codes=statistics.used.count,
        used_codes_error=statistics.used.relative_error,
        possible_codes=code.num_codes if code.num_codes <= 1 << _MAX_EXACT_BITS_OF_FLOAT else None,
        by_frame=_parts(
            statistics, zip(names, statistics.frames_FV, statistics.frame_tokens_F.tolist(), strict=True)
        ),
        by_source=_parts(statistics, prefixes),
        by_scale=_parts(
            statistics, zip(scales, statistics.scales_SV, statistics.scale_tokens_S.tolist(), strict=True)
        )
        or None,
        along=_parts(
            statistics,
            zip(stretches, statistics.stretches_BV, statistics.stretch_tokens_B.tolist(), strict=True),
        ),
        pairs_of_frames=pairs,
        repeated_frames=repeated,
        clips=clips,
        still_clips=still,
        **of_kind,
    )


def _bits(statistics: CodeStatistics, tokens: int) -> dict[str, Any]:
    """The fields of bits. Kernels count the least significant bit first, and the lowest group last."""
    order = _order(statistics)
    ones_L = statistics.counts_V[order]
    shares_L = ones_L / max(tokens, 1)
    group_entropies = [entropy(counts) for counts in statistics.groups_GK[::-1][order]]
    rare_L = np.minimum(shares_L, 1 - shares_L)
    return {
        "ones": shares_L.tolist(),
        "entropies": bit_entropies(shares_L).tolist(),
        "correlation": correlation(tokens, ones_L, statistics.shared_LL[order, order]).tolist(),
        "stuck_bits": np.flatnonzero(rare_L <= STUCK_SHARE).tolist() if tokens else [],
        "group_bits": statistics.group_bits,
        "group_entropies": group_entropies,
        "order0_bits_per_token": sum(group_entropies),
    }


def _values(statistics: CodeStatistics, tokens: int) -> dict[str, Any]:
    """The fields of digits and of an index; none if they have too many values to be counted."""
    counts_V = statistics.counts_V
    if not len(counts_V):
        return {}
    values = list(_by_dimension(statistics, counts_V))
    stuck = [int(counts.max()) >= (1 - STUCK_SHARE) * tokens > 0 for counts in values]
    return {
        "entropies": _value_entropies(statistics, counts_V).tolist(),
        "stuck_bits": np.flatnonzero(stuck).tolist(),
        "values": [counts.tolist() for counts in values] if len(counts_V) <= _SHOWN_VALUES else [],
        "order0_bits_per_token": sum(map(entropy, values)),
    }


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


def _order(statistics: CodeStatistics) -> slice:
    """Takes dimensions from the least significant first to dimension 0 first."""
    return slice(None, None, -1 if statistics.code.first == "most" else 1)


def _by_dimension(statistics: CodeStatistics, counts_V: Int64s) -> Iterator[Int64s]:
    """Yield the histogram of each dimension of digits or an index, dimension 0 first."""
    yield from np.split(counts_V, statistics.bases.cumsum()[:-1])[_order(statistics)]


def _value_entropies(statistics: CodeStatistics, counts_V: Int64s) -> Float64s:
    """The entropy of each dimension as a share of its most, 0 to 1."""
    return np.array([entropy(counts) / log2(len(counts)) for counts in _by_dimension(statistics, counts_V)])


def _parts(statistics: CodeStatistics, parts: Iterable[tuple[str, Int64s, int]]) -> list[BitsOf]:
    return [
        _bits_of(statistics, value, counts, tokens)
        for value, counts, tokens in parts
        if len(counts) and tokens
    ]


def _bits_of(statistics: CodeStatistics, value: str, counts_V: Int64s, tokens: int) -> BitsOf:
    if statistics.code.kind == "bits":
        entropies = bit_entropies(counts_V[_order(statistics)] / tokens)
    else:
        entropies = _value_entropies(statistics, counts_V)
    weakest = int(entropies.argmin())
    return BitsOf(
        value=value,
        tokens=tokens,
        mean_entropy=float(entropies.mean()),
        weakest_entropy=float(entropies[weakest]),
        weakest_bit=weakest,
    )
