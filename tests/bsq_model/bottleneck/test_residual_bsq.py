"""Residual BSQ against a case of the published code, and its sums against their definition.

The case was made by the quantizer of FoundationVision/Infinity, under torch 2.13 on a CPU: random weights, 16
bits, an image of 96×128 pixels.
"""

from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch

from bitmill.bsq_model.bottleneck.residual_bsq import (
    bits_of_latents,
    inputs_of_scales,
    scales_of_codes,
    sum_of_bits,
    sums_of_scales,
)

GRIDS = [(1, 3, 3), (1, 2, 2), (1, 6, 6)]


@pytest.fixture(scope="module")
def case():
    with np.load(Path(__file__).with_name("residual_bsq.npz")) as arrays:
        grids = [tuple(map(int, grid)) for grid in arrays["schedule"]]
        return grids, *(torch.from_numpy(arrays[name]) for name in ("latents_THWD", "bits_ND", "sum_THWD"))


def _random_bits(*shape: int):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5


def test_bits_and_their_sum_are_those_of_the_published_code(case):
    grids, latents_THWD, bits_ND, sum_THWD = case
    assert torch.equal(bits_of_latents(latents_THWD, grids), bits_ND)
    torch.testing.assert_close(sum_of_bits(bits_ND, grids), sum_THWD, atol=1e-5, rtol=0)


def test_each_scale_codes_what_the_sum_before_it_left_over(case):
    grids, latents_THWD, bits_ND, _ = case
    scales = scales_of_codes(bits_ND, grids)
    before_last = sums_of_scales(scales)[-2]
    assert torch.equal(latents_THWD - before_last > 0, scales[-1])
    # So that the sum comes closer to the latents, scale by scale.
    errors = [float((total - latents_THWD).square().mean()) for total in sums_of_scales(scales)]
    assert errors == sorted(errors, reverse=True)


def test_zero_latents_are_zero_bits_at_first():
    bits_ND = bits_of_latents(torch.zeros(1, 2, 2, 4), [(1, 1, 1), (1, 2, 2)])
    # The first scale's bits stand for −1/2, which the second makes up for.
    assert bits_ND.tolist() == [[False] * 4] + [[True] * 4] * 4


def test_the_sums_of_a_clip_are_the_same_in_a_batch():
    scales = [_random_bits(3, *grid, 5) for grid in GRIDS]
    for number in range(3):
        alone = sums_of_scales([bits[number] for bits in scales])
        assert all(
            torch.equal(one, many[number]) for one, many in zip(alone, sums_of_scales(scales), strict=True)
        )
    flat_BND = torch.cat([bits.flatten(1, 3) for bits in scales], dim=1)
    assert torch.equal(sum_of_bits(flat_BND, GRIDS), sums_of_scales(scales)[-1])


def test_the_first_scales_alone_give_the_sum_up_to_them(case):
    grids, _, bits_ND, _ = case
    sums, end = sums_of_scales(scales_of_codes(bits_ND, grids)), 0
    for grid, total in zip(grids, sums, strict=True):
        end += prod(grid)
        assert torch.equal(sum_of_bits(bits_ND[:end], grids), total)
    with pytest.raises(ValueError, match="64 tokens are not those of the first scales"):
        sum_of_bits(bits_ND[:-1], grids)


def test_a_scales_input_is_the_sum_before_it_at_the_scales_positions():
    scales = [_random_bits(2, *grid, 5) for grid in GRIDS]
    sums, inputs = sums_of_scales(scales), inputs_of_scales(scales)
    # Linear interpolation by 3 takes the middle of three; the mean of all nine is another number.
    torch.testing.assert_close(inputs[0], sums[0][:, :, 1::3, 1::3])
    assert torch.equal(inputs[1], sums[1])
    assert len(inputs) == 2
