"""Baseline costs of tokens, which a prior must beat; no model, no storage.

Axes: n tokens, D dimensions of a code, G groups of a token (or its dimensions).
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bitmill.schemas.dataset.packing import Codes, pack_codes
from bitmill.schemas.models.geometry import Code

Values = npt.NDArray[np.int64]

_ZSTD_LEVEL = 19


def static_values(values_nG: Values, sizes: Sequence[int]) -> float:
    """Return bits per token with a frequency per value of each column: the lower bound of order 0."""
    return sum(_entropy(counts / counts.sum()) for counts in _histograms(values_nG, sizes))


def adaptive_values(values_nG: Values, sizes: Sequence[int]) -> float:
    """Return bits per token of an adaptive code (Krichevsky and Trofimov, 1981).

    In closed form, because the order of the tokens does not matter: Γ(K/2) / Γ(n + K/2) · Π Γ(count + ½) /
    Γ(½).
    """
    nats = 0.0
    for counts in _histograms(values_nG, sizes):
        values, total = len(counts), int(counts.sum())
        nats += math.lgamma(total + values / 2) - math.lgamma(values / 2)
        nats -= sum(math.lgamma(count + 0.5) for count in counts.tolist()) - values * math.lgamma(0.5)
    return nats / math.log(2) / len(values_nG)


def zstd(codes_nD: Codes, code: Code) -> float:
    """Return bits per token of all codes, packed without gaps, as one zstd frame of level 19."""
    codec = pa.Codec("zstd", compression_level=_ZSTD_LEVEL)
    return 8 * len(codec.compress(pack_codes(codes_nD, code), asbytes=True)) / len(codes_nD)


def _histograms(values_nG: Values, sizes: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    return [np.bincount(values_n, minlength=size) for values_n, size in zip(values_nG.T, sizes, strict=True)]


def _entropy(shares: npt.NDArray[np.float64]) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log2(present)).sum())
