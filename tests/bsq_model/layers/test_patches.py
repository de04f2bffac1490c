import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from bitmill.bsq_model.layers.patches import (
    patches_from_pixels,
    pixels_from_patches,
    pixels_from_uint8,
    uint8_from_pixels,
)


@given(rows=st.integers(1, 4), columns=st.integers(1, 4), patch=st.integers(1, 5), frames=st.integers(1, 3))
def test_patches_are_row_major_tokens_of_channel_row_column(
    rows: int, columns: int, patch: int, frames: int
) -> None:
    shape = (frames, rows * patch, columns * patch, 3)
    pixels_THWC = torch.arange(math.prod(shape), dtype=torch.float32).view(shape)
    patches_ThwP = patches_from_pixels(pixels_THWC, patch)
    unfolded = functional.unfold(pixels_THWC.permute(0, 3, 1, 2), patch, stride=patch).transpose(1, 2)
    assert torch.equal(patches_ThwP.flatten(1, 2), unfolded)
    assert torch.equal(pixels_from_patches(patches_ThwP, patch), pixels_THWC)


def test_every_grey_level_survives_the_way_there_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    pixels = pixels_from_uint8(levels, torch.float32)
    assert (pixels.min(), pixels.max()) == (-1, 1)
    assert torch.equal(uint8_from_pixels(pixels), levels)


def test_pixels_out_of_range_are_clamped_and_others_rounded() -> None:
    pixels = torch.tensor([-7.0, 7.0, -1 + 0.6 / 127.5, -1 + 0.4 / 127.5])
    assert uint8_from_pixels(pixels).tolist() == [0, 255, 1, 0]
