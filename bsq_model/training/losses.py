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
    reconstruction_BTHWC: Tensor,
    pixels_BTHWC: Tensor,
    spec: LossSpec,
    perceptual: Perceptual | None,
    weights_BT: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the losses ``l1``, ``l2`` and ``lpips`` that have a weight; scalars, float32.

    The reconstruction is not clamped, so that values out of range are penalized. Frames count by their
    weights, or all alike. Raises ValueError if ``lpips`` has a weight and ``perceptual`` is None.
    """
    error = reconstruction_BTHWC.float() - pixels_BTHWC
    terms: dict[str, Tensor] = {}
    if spec.l1:
        terms["l1"] = mean_of_frames(error.abs(), weights_BT)
    if spec.l2:
        terms["l2"] = mean_of_frames(error.square(), weights_BT)
    if spec.lpips:
        if perceptual is None:
            raise ValueError("loss.lpips has a weight, but no network was given")
        frames = (reconstruction_BTHWC.flatten(0, 1), pixels_BTHWC.flatten(0, 1))
        distances_BT = perceptual(*frames).float().view(error.shape[:2])
        terms["lpips"] = mean_of_frames(distances_BT, weights_BT)
    return terms


def mean_of_frames(x_BTx: Tensor, weights_BT: Tensor | None) -> Tensor:
    """Return the mean over all axes, of frames by their weights, whose mean is one."""
    if weights_BT is None:
        return x_BTx.mean()
    return (x_BTx.reshape(*weights_BT.shape, -1).mean(2) * weights_BT).mean()


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
def psnr_db(reconstruction_BTHWC: Tensor, pixels_BTHWC: Tensor, weights_BT: Tensor | None = None) -> Tensor:
    """Return the mean PSNR over clips in dB, peak 2; clamps reconstructions to [−1, 1], does not round.

    A clip's frames count by their weights, or all alike.
    """
    errors_BT = (reconstruction_BTHWC.float().clamp(-1, 1) - pixels_BTHWC).square().flatten(2).mean(2)
    if weights_BT is not None:
        errors_BT = errors_BT * (weights_BT / weights_BT.mean(1, keepdim=True))
    return (10 * torch.log10(4 / errors_BT.mean(1).clamp_min(1e-10))).mean()


def freeze(module: nn.Module, frozen: bool) -> None:
    """Freeze or unfreeze a module's weights; gradients still pass through the module."""
    module.requires_grad_(not frozen)
