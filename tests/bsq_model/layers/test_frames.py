"""Layers within frames."""

import pytest
import torch
from torch import nn

from bitmill.bsq_model.layers.frames import normed_frames


@pytest.mark.parametrize("num_groups", [1, 32])
@pytest.mark.parametrize("mean", [0, 100])
def test_a_group_norm_is_exact_whatever_the_mean(num_groups, mean):
    generator = torch.Generator().manual_seed(0)
    x_THWC = torch.randn(2, 24, 40, 64, generator=generator) + mean
    x_THWC[..., 32:] -= 3 * mean
    norm = nn.GroupNorm(num_groups, 64, eps=1e-6)
    grouped = x_THWC.double().unflatten(3, (num_groups, -1))
    spread = grouped.var((1, 2, 4), correction=0, keepdim=True)
    expected = (grouped - grouped.mean((1, 2, 4), keepdim=True)) / (spread + 1e-6).sqrt()
    with torch.inference_mode():
        normed = normed_frames(norm, x_THWC, num_groups)
    torch.testing.assert_close(normed.double(), expected.flatten(3), atol=1e-5, rtol=0)
