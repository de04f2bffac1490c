"""PSNR, SSIM and MS-SSIM of reconstructions. Axes: B clips or pictures, T, H, W, C = 3.

All take floats in [−1, 1]; reconstructions are clamped to it and not rounded to grey levels, as in published
results.
"""

import torch
from torch import Tensor
from torch.nn import functional

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
EQUAL_DB = 100.0
"""What a clip that is equal counts in a mean."""
MS_SSIM_LEAST_PX = (_WINDOW - 1) * 2 ** (len(_SCALE_WEIGHTS) - 1) + 1
"""Smallest side at which the window fits the coarsest scale."""


def psnr_db(reconstruction_BTHWC: Tensor, original_BTHWC: Tensor) -> Tensor:
    """Return 10·log10(peak² / MSE) over a whole clip and all channels: [B], dB; ∞ for equal clips."""
    error = reconstruction_BTHWC.float().clamp(-1, 1) - original_BTHWC.float()
    return 10 * torch.log10(4 / error.double().square().flatten(1).mean(1))


def clip_psnr_db(reconstruction_THWC: Tensor, original_THWC: Tensor) -> float:
    """The PSNR of a clip, floats in [−1, 1], as means over clips take it: at most ``EQUAL_DB``."""
    return min(EQUAL_DB, float(psnr_db(reconstruction_THWC[None], original_THWC[None])[0]))


def ssim(a_BHWC: Tensor, b_BHWC: Tensor) -> Tensor:
    """Return structural similarity (Wang et al. 2004): [B]; 11×11 Gaussian window of σ 1.5, no padding.

    Mean over channels and places. Raises ValueError if the pictures are smaller than the window.
    """
    similarity_BC, _ = _ssim_terms(*_grey_levels(a_BHWC, b_BHWC))
    return similarity_BC.mean(1)


def ms_ssim(a_BHWC: Tensor, b_BHWC: Tensor) -> Tensor:
    """Return multi-scale SSIM over five scales (Wang et al. 2003): [B]. ValueError below 161 pixels."""
    a, b = _grey_levels(a_BHWC, b_BHWC)
    if min(a.shape[-2:]) < MS_SSIM_LEAST_PX:
        raise ValueError(f"MS-SSIM needs {MS_SSIM_LEAST_PX} pixels per side, not {min(a.shape[-2:])}")
    factors: list[Tensor] = []
    for number in range(len(_SCALE_WEIGHTS)):
        similarity_BC, contrast_BC = _ssim_terms(a, b)
        is_last = number == len(_SCALE_WEIGHTS) - 1
        factors.append(functional.relu(similarity_BC if is_last else contrast_BC))
        if not is_last:
            odd = [side % 2 for side in a.shape[-2:]]
            a, b = (functional.avg_pool2d(x, 2, padding=odd) for x in (a, b))
    weights = torch.tensor(_SCALE_WEIGHTS, dtype=a.dtype, device=a.device)[:, None, None]
    return (torch.stack(factors) ** weights).prod(0).mean(1)


def _grey_levels(a_BHWC: Tensor, b_BHWC: Tensor) -> tuple[Tensor, Tensor]:
    """Convert to channels first, 0 to 255, float64: differences of variances cancel in float32."""
    a, b = ((x.double().clamp(-1, 1) + 1) * 127.5 for x in (a_BHWC, b_BHWC))
    return a.movedim(-1, 1), b.movedim(-1, 1)


def _ssim_terms(a_BCHW: Tensor, b_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return (SSIM, its contrast and structure term), means over places: [B, C] each."""
    if min(a_BCHW.shape[-2:]) < _WINDOW:
        raise ValueError(f"SSIM needs {_WINDOW} pixels per side, not {min(a_BCHW.shape[-2:])}")
    c1, c2 = (_K1 * 255) ** 2, (_K2 * 255) ** 2
    mean_a, mean_b = _blur(a_BCHW), _blur(b_BCHW)
    variance_a = _blur(a_BCHW.square()) - mean_a.square()
    variance_b = _blur(b_BCHW.square()) - mean_b.square()
    covariance = _blur(a_BCHW * b_BCHW) - mean_a * mean_b
    contrast = (2 * covariance + c2) / (variance_a + variance_b + c2)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    return (luminance * contrast).mean((2, 3)), contrast.mean((2, 3))


def _blur(x_BCHW: Tensor) -> Tensor:
    """Convolve with the Gaussian window along rows, then columns, without padding."""
    place = torch.arange(_WINDOW, dtype=x_BCHW.dtype, device=x_BCHW.device) - _WINDOW // 2
    window = torch.exp(-place.square() / (2 * _SIGMA**2))
    window = window / window.sum()
    flat = x_BCHW.flatten(0, 1)[:, None]
    flat = functional.conv2d(functional.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return flat[:, 0].unflatten(0, x_BCHW.shape[:2])
