"""Converts the decoder's last layer to pixels; no other module checks ``config.output``.

Axes: h and w tokens of a frame, X values of a token: P = 3·p², or 2·P for ``logit-laplace`` (means, then
log-scales), each in (channel, row, column) order. H and W pixels, C = 3 colours.
"""

from torch import Tensor

from bitmill.bsq_model.layers.logit_laplace import LogitLaplace, pixels_of_mean
from bitmill.bsq_model.layers.patches import pixels_from_patches
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig


def values_per_patch(config: TokenizerConfig) -> int:
    """Return X, the number of values that the decoder outputs per token."""
    return 3 * config.patch_size_px**2 * (2 if config.output == "logit-laplace" else 1)


def pixels_of_output(values_xhwX: Tensor, config: TokenizerConfig) -> Tensor:
    """Convert [..., h, w, X] to pixels [..., H, W, C], not clamped: the values, or distributions' means."""
    distribution = distribution_of_output(values_xhwX, config)
    if distribution is None:
        return pixels_from_patches(values_xhwX, config.patch_size_px)
    return pixels_of_mean(distribution.mean)


def distribution_of_output(values_xhwX: Tensor, config: TokenizerConfig) -> LogitLaplace | None:
    """Return the parameters of each pixel value [..., H, W, C]; None if the decoder outputs pixels."""
    if config.output != "logit-laplace":
        return None
    means_xhwP, log_scales_xhwP = values_xhwX.chunk(2, dim=-1)
    return LogitLaplace(
        pixels_from_patches(means_xhwP, config.patch_size_px),
        pixels_from_patches(log_scales_xhwP, config.patch_size_px),
    )
