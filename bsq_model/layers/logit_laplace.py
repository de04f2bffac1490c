"""Logit-Laplace decoder output: a Laplace distribution in logit space for each pixel value.

Ramesh et al., arXiv 2102.12092, appendix A.3. Pixels in [−1, 1] become ``φ = (1 − 2ε)·(pixel + 1)/2 + ε``
with ε = 0.1, whose logit is Laplace-distributed around the mean μ with scale b.
"""

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import logsigmoid

_EPSILON = 0.1

_LEAST_LOG_SCALE = -5.0
"""Half of the smallest grey-level step in logit space; a smaller scale improves nothing visible."""


class LogitLaplace(NamedTuple):
    """Parameters of each value's distribution; two tensors [..., H, W, C]."""

    mean: Tensor
    """μ, in logit space."""
    log_scale: Tensor
    """ln b."""


def pixels_of_mean(mean: Tensor) -> Tensor:
    """Convert μ to pixels, float32, within [−1.25, 1.25]; the caller clamps them to [−1, 1]."""
    return 2 * (mean.float().sigmoid() - _EPSILON) / (1 - 2 * _EPSILON) - 1


def logit_laplace_loss(output: LogitLaplace, pixels: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of φ of pixels in [−1, 1]: float32 scalar, in nats per value.

    ``−ln p(φ) = |logit φ − μ|/b + ln(2b) + ln(φ(1 − φ))``; it may be negative, because p is a density.
    ``ln b`` is clamped to at least −5.
    """
    phi = (1 - 2 * _EPSILON) * (pixels.float() + 1) / 2 + _EPSILON
    target = (phi / (1 - phi)).log()
    log_scale = output.log_scale.float().clamp_min(_LEAST_LOG_SCALE)
    error = (target - output.mean.float()).abs()
    log_slope = logsigmoid(target) + logsigmoid(-target)
    return (error * (-log_scale).exp() + log_scale + math.log(2) + log_slope).mean()
