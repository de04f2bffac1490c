"""The terms of the tokenizer's loss, unweighted, and their sum (arXiv 2406.07548, section 3 and appendix).

Axes: B clips, T frames, H and W pixels, C = 3 colours.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from bitmill.bsq_model.training.training_schedule import entropy_weight
from bitmill.schemas.requests.training import LossSpec

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Maps two pictures, float [B, H, W, 3] in [−1, 1], to their distance [B]."""


def pixel_losses(
    reconstruction_BTHWC: Tensor, pixels_BTHWC: Tensor, spec: LossSpec, perceptual: Perceptual | None
) -> dict[str, Tensor]:
    """Return the losses ``l1``, ``l2`` and ``lpips`` that have a weight; scalars, float32.

    The reconstruction is not clamped, so that values out of range are penalized. Raises ValueError if
    ``lpips`` has a weight and ``perceptual`` is None.
    """
    error = reconstruction_BTHWC.float() - pixels_BTHWC
    terms: dict[str, Tensor] = {}
    if spec.l1:
        terms["l1"] = error.abs().mean()
    if spec.l2:
        terms["l2"] = error.square().mean()
    if spec.lpips:
        if perceptual is None:
            raise ValueError("loss.lpips has a weight, but no network was given")
        frames = (reconstruction_BTHWC.flatten(0, 1), pixels_BTHWC.flatten(0, 1))
        terms["lpips"] = perceptual(*frames).float().mean()
    return terms


def weighted_sum(terms: Mapping[str, Tensor], spec: LossSpec, step: int) -> Tensor:
    """Return the total loss: each term times its weight; entropy terms use the ramp's weight at ``step``."""
    entropy = entropy_weight(step, spec.entropy)
    weights = {
        "l1": spec.l1,
        "l2": spec.l2,
        "lpips": spec.lpips,
        "logit_laplace": spec.l1,
        "gan": spec.gan.weight,
        "commitment": spec.commitment,
        "entropy_per_token": entropy,
        "entropy_of_mean": -entropy * spec.entropy.gamma,
    }
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


@torch.no_grad()
def psnr_db(reconstruction_BTHWC: Tensor, pixels_BTHWC: Tensor) -> Tensor:
    """Return the mean PSNR over clips in dB, peak 2; clamps reconstructions to [−1, 1], does not round."""
    error = reconstruction_BTHWC.float().clamp(-1, 1) - pixels_BTHWC
    return (10 * torch.log10(4 / error.square().flatten(1).mean(1).clamp_min(1e-10))).mean()


def freeze(module: nn.Module, frozen: bool) -> None:
    """Freeze or unfreeze a module's weights; gradients still pass through the module."""
    module.requires_grad_(not frozen)
