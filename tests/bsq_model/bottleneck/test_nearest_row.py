"""The nearest row of a codebook."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitmill.bsq_model.bottleneck.nearest_row import indices_of_latents


@settings(max_examples=20)
@given(size=st.integers(2, 3000), rows=st.integers(1, 3), width=st.integers(1, 700), seed=st.integers(0, 9))
def test_the_nearest_row_whatever_else_is_quantized(size, rows, width, seed):
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(rows, 1, width, 4, generator=generator)
    codebook = torch.randn(size, 4, generator=generator)
    found = indices_of_latents(latents, codebook)
    assert (found.dtype, found.shape) == (torch.int64, (rows, 1, width))
    distances = torch.cdist(latents.double().flatten(0, 2), codebook.double()).square()
    nearest = distances.min(-1).values
    chosen = distances.gather(-1, found.flatten()[:, None])[:, 0]
    assert (chosen - nearest).max() < 1e-5
    assert torch.equal(indices_of_latents(latents[:1], codebook), found[:1])


def test_of_equally_near_rows_it_is_the_first():
    codebook = torch.tensor([[3.0, 0], [1, 0], [-1, 0], [1, 0]])
    latents = torch.tensor([[[[0.0, 0], [2, 0], [0.9, 1]]]])
    assert indices_of_latents(latents, codebook).tolist() == [[[1, 0, 1]]]
