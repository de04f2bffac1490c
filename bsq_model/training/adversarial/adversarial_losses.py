"""Adversarial losses of tokenizer and discriminator; pure functions of logits, high for originals.

Axes: B pictures, H and W pixels, C = 3 colours.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus


def generator_loss(logits_fake_B: Tensor, weights_B: Tensor | None = None) -> Tensor:
    """Return the non-saturating loss ``E[−ln σ(D(fake))]`` (arXiv 1406.2661, section 3); a scalar in nats.

    Pictures count by their weights, whose mean is one, or all alike.
    """
    return _mean(softplus(-logits_fake_B.float()), weights_B)


def discriminator_loss(
    logits_real_B: Tensor, logits_fake_B: Tensor, weights_B: Tensor | None = None
) -> Tensor:
    """Return ``E[−ln σ(D(real))] + E[−ln(1 − σ(D(fake)))]``; a scalar, 2·ln 2 at chance level."""
    real, fake = softplus(-logits_real_B.float()), softplus(logits_fake_B.float())
    return _mean(real, weights_B) + _mean(fake, weights_B)


def r1_penalty(logits_real_B: Tensor, pixels_real_BHWC: Tensor, weights_B: Tensor | None = None) -> Tensor:
    """Return R1 without its weight γ: half the mean of ``‖∇ₓD(x)‖²`` (arXiv 1801.04406, section 4.1).

    ``logits_real`` must be computed from ``pixels_real``, which must require gradients. Of clips, which have
    one axis more, the mean is over frames. Pictures without weight are in neither D nor the mean. The result
    is differentiable with respect to the discriminator's weights.
    """
    counted_B = logits_real_B if weights_B is None else logits_real_B * (weights_B > 0)
    (gradients_BHWC,) = torch.autograd.grad(counted_B.sum(), pixels_real_BHWC, create_graph=True)
    return _mean(gradients_BHWC.square().flatten(-3).sum(-1).flatten(), weights_B) / 2


def _mean(x_B: Tensor, weights_B: Tensor | None) -> Tensor:
    return x_B.mean() if weights_B is None else (x_B * weights_B).mean()
