"""A distribution of each pixel value in place of the value: Laplace in logit space; for one kind of decoder.

Ramesh et al., arXiv 2102.12092, appendix A.3. Pixels in [−1, 1] become ``φ = (1 − 2ε)·(pixel + 1)/2 + ε``
with ε = 0.1, whose logit is Laplace-distributed around the mean μ with scale b.
"""

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import logsigmoid

_EPSILON = 0.1

_LEAST_LOG_SCALE = -5.0
"""Half of a grey level's step in logit space where it is smallest; below, fidelity has no further meaning."""


class LogitLaplace(NamedTuple):
    """Parameters of the distribution of each value; two tensors [..., H, W, C]."""

    mean: Tensor
    """μ, in logit space."""
    log_scale: Tensor
    """ln b."""


def pixels_of_mean(mean: Tensor) -> Tensor:
    """μ as pixels, float32, within [−1.25, 1.25]: the caller clamps what leaves [−1, 1]."""
    return 2 * (mean.float().sigmoid() - _EPSILON) / (1 - 2 * _EPSILON) - 1


def logit_laplace_loss(output: LogitLaplace, pixels: Tensor) -> Tensor:
    """The mean negative log-likelihood of pixels in [−1, 1], of their φ: a scalar, float32, in nats a value.

    ``−ln p(φ) = |logit φ − μ|/b + ln(2b) + ln(φ(1 − φ))``; it may be negative, as a density's may.
    ``ln b`` counts as −5 where it is less.
    """
    phi = (1 - 2 * _EPSILON) * (pixels.float() + 1) / 2 + _EPSILON
    target = (phi / (1 - phi)).log()
    log_scale = output.log_scale.float().clamp_min(_LEAST_LOG_SCALE)
    error = (target - output.mean.float()).abs()
    log_slope = logsigmoid(target) + logsigmoid(-target)
    return (error * (-log_scale).exp() + log_scale + math.log(2) + log_slope).mean()
