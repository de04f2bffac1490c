"""Baseline costs of tokens, which a prior must beat; no model, no storage.

Axes: n tokens, L bits of a token, G groups of a token, g bits of a group.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bits = npt.NDArray[np.bool_]

_ZSTD_LEVEL = 19


def independent_bits(bits_nL: Bits) -> float:
    """Return bits per token with a frequency per bit, fitted to these tokens at no cost."""
    return sum(_entropy(np.array([ones, 1 - ones])) for ones in bits_nL.mean(axis=0))


def static_groups(bits_nL: Bits, group_bits: int) -> float:
    """Return bits per token with a frequency per value of each group: the lower bound of order 0."""
    return sum(_entropy(counts / counts.sum()) for counts in _histograms(bits_nL, group_bits))


def adaptive_groups(bits_nL: Bits, group_bits: int) -> float:
    """Return bits per token of an adaptive code (Krichevsky and Trofimov, 1981).

    In closed form, because the order of the tokens does not matter: Γ(K/2) / Γ(n + K/2) · Π Γ(count + ½) /
    Γ(½).
    """
    nats = 0.0
    for counts in _histograms(bits_nL, group_bits):
        values, total = len(counts), int(counts.sum())
        nats += math.lgamma(total + values / 2) - math.lgamma(values / 2)
        nats -= sum(math.lgamma(count + 0.5) for count in counts.tolist()) - values * math.lgamma(0.5)
    return nats / math.log(2) / len(bits_nL)


def zstd(clips_nL: Sequence[Bits]) -> float:
    """Return bits per token of all clips' codes, packed without gaps, as one zstd frame of level 19."""
    bits_n = np.concatenate([bits.reshape(-1) for bits in clips_nL])
    codec = pa.Codec("zstd", compression_level=_ZSTD_LEVEL)
    size = len(codec.compress(np.packbits(bits_n).tobytes(), asbytes=True))
    return 8 * size / sum(map(len, clips_nL))


def _histograms(bits_nL: Bits, group_bits: int) -> list[npt.NDArray[np.int64]]:
    powers_g = 1 << np.arange(group_bits - 1, -1, -1)
    values_nG = bits_nL.reshape(len(bits_nL), -1, group_bits) @ powers_g
    return [np.bincount(values_n, minlength=1 << group_bits) for values_n in values_nG.T]


def _entropy(shares: npt.NDArray[np.float64]) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log2(present)).sum())
