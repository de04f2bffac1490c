"""Converts probabilities to integer frequencies that sum to 2^24, identically on every machine.

It uses only integers and operations that IEEE 754 rounds correctly, so equal logits give equal frequencies.
Axes: B lanes, K values of a group.
"""

from decimal import Context, Decimal
from functools import cache

import numpy as np
import numpy.typing as npt

from bitmill.schemas.arrays import Int64s
from bitmill.schemas.errors import UsageError

PRECISION_BITS = 24
TOTAL = 1 << PRECISION_BITS
MOST_GROUP_BITS = 16
"""Each value has probability at least 2^-24; with 2^16 values this floor takes at most 1/256 of the range."""

_STEPS_BITS = 12
_STEPS = 1 << _STEPS_BITS
"""Quantization steps per octave of the exponent: an error of at most 1/8192 octave, 0.008%."""
_WEIGHT_BITS = 30
_STEPS_A_NAT = np.float64(5909.278887481194)
"""4096 / ln 2, the nearest double."""


def frequencies_of_logits(logits_BK: npt.NDArray[np.float32]) -> Int64s:
    """Convert logits, float32 [B, K], K = 2^1 to 2^16, to frequencies, int64 [B, K], at least 1, sum 2^24.

    With m the largest logit of a row: d = m − x in float32; s = d · 4096/ln 2 in float64, rounded to an
    integer, halves to even; weight = ⌊T[s mod 4096] / 2^(s div 4096)⌋, T[i] being 2^30 · 2^(−i/4096) rounded;
    then ``frequencies_of_weights`` applies. Logits of −∞ have weight 0. Raises UsageError if a row contains
    NaN or +∞, or only −∞.
    """
    if logits_BK.dtype != np.float32 or logits_BK.ndim != 2:
        raise ValueError(f"logits must be float32 [B, K], not {logits_BK.dtype} {list(logits_BK.shape)}")
    largest_B = logits_BK.max(1)
    if not bool(np.isfinite(largest_B).all()):
        raise UsageError(
            "the prior returned probabilities that are not finite: its weights are damaged, or it was made "
            "for other tokens; reload it, or code without a prior"
        )
    with np.errstate(over="ignore"):
        below_BK = (largest_B[:, None] - logits_BK).astype(np.float64) * _STEPS_A_NAT
    # Past 31 octaves a weight is zero.
    steps_BK = np.rint(np.minimum(below_BK, 31.0 * _STEPS)).astype(np.int64)
    weights_BK = _powers()[steps_BK & (_STEPS - 1)] >> (steps_BK >> _STEPS_BITS)
    return frequencies_of_weights(weights_BK)


def frequencies_of_weights(weights_BK: Int64s) -> Int64s:
    """Convert weights, int64 [B, K] in [0, 2^30], with a positive sum W per row, to frequencies of sum 2^24.

    f = 1 + ⌊w · (2^24 − K) / W⌋; the remainder to 2^24 goes to the largest weight of the row, the first of
    equal ones.
    """
    num_values = weights_BK.shape[1]
    shares_BK = weights_BK * (TOTAL - num_values) // weights_BK.sum(1, keepdims=True)
    frequencies_BK = shares_BK + 1
    rows = np.arange(len(weights_BK))
    frequencies_BK[rows, weights_BK.argmax(1)] += TOTAL - frequencies_BK.sum(1)
    return frequencies_BK


@cache
def _powers() -> Int64s:
    """Return T: int64 [4096], computed with 30 decimal digits, so that it is equal on every machine."""
    context = Context(prec=30)
    table = [
        int(
            context.multiply(
                Decimal(1 << _WEIGHT_BITS), context.power(Decimal(2), Decimal(-i) / Decimal(_STEPS))
            ).to_integral_value()
        )
        for i in range(_STEPS)
    ]
    return np.array(table, np.int64)
