"""The distribution of a pixel value: a density, whose best mean is the pixel."""

import pytest
import torch

from bitmill.bsq_model.layers.logit_laplace import LogitLaplace, logit_laplace_loss, pixels_of_mean
from bitmill.bsq_model.layers.output import distribution_of_output, pixels_of_output
from bitmill.bsq_model.layers.patches import patches_from_pixels
from tests.bsq_model.small import SMALL


def _logits_of(pixels: torch.Tensor) -> torch.Tensor:
    return torch.logit(0.1 + 0.8 * (pixels + 1) / 2)


@pytest.mark.parametrize(("mean", "log_scale"), [(0.3, -1.0), (-1.0, -3.0), (0.0, 0.5)])
def test_it_is_a_density(mean, log_scale):
    # Over all of 0 < φ < 1, which pixels beyond [−1, 1] reach too; p(φ) integrates to one.
    phi = torch.linspace(0, 1, 400_001, dtype=torch.float64)[1:-1]
    pixels = (2 * (phi - 0.1) / 0.8 - 1).float()
    output = LogitLaplace(torch.tensor(mean), torch.tensor(log_scale))
    density = torch.stack([-logit_laplace_loss(output, p) for p in pixels[::400]]).double().exp()
    assert torch.trapezoid(density, phi[::400]).item() == pytest.approx(1, abs=0.02)


def test_pixels_come_back_from_the_mean_that_fits_them_best():
    pixels = torch.linspace(-1, 1, 256)
    mean = _logits_of(pixels)
    torch.testing.assert_close(pixels_of_mean(mean), pixels, rtol=0, atol=1e-6)
    scale = torch.full_like(mean, -2.0)
    best = logit_laplace_loss(LogitLaplace(mean, scale), pixels)
    for shift in (-0.01, 0.01):
        assert logit_laplace_loss(LogitLaplace(mean + shift, scale), pixels) > best


def test_the_best_scale_is_the_mean_error():
    pixels = torch.zeros(1000)
    mean = _logits_of(pixels) + torch.linspace(-0.4, 0.4, 1000)
    losses = {
        b: logit_laplace_loss(LogitLaplace(mean, torch.tensor(b).log()), pixels) for b in (0.1, 0.2, 0.4)
    }
    assert min(losses, key=losses.__getitem__) == 0.2


def test_a_sure_and_right_prediction_has_a_finite_loss():
    loss = logit_laplace_loss(LogitLaplace(torch.zeros(5), torch.full((5,), -1000.0)), torch.zeros(5))
    assert bool(torch.isfinite(loss))


def test_means_and_scales_are_the_halves_of_a_patch():
    config = SMALL.model_copy(update={"output": "logit-laplace"})
    pixels = torch.rand(2, 24, 24, 3) * 2 - 1
    scales = torch.rand(2, 24, 24, 3)
    halves = [patches_from_pixels(x, config.patch_size_px) for x in (_logits_of(pixels), scales)]
    values = torch.cat(halves, dim=-1)
    torch.testing.assert_close(pixels_of_output(values, config), pixels, rtol=0, atol=1e-6)
    distribution = distribution_of_output(values, config)
    assert distribution is not None
    assert torch.equal(distribution.log_scale, scales)
    assert distribution_of_output(values, SMALL) is None
