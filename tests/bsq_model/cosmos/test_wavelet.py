"""The wavelet of Cosmos: a patch's first band is its mean, and nothing is lost."""

import torch

from bitmill.bsq_model.cosmos.wavelet import patches_of_pixels, pixels_of_patches


def test_pixels_come_back_and_the_first_bands_are_means():
    pixels = torch.rand(8, 12, 16, 3, generator=torch.Generator().manual_seed(1))
    patches = patches_of_pixels(pixels)
    assert patches.shape == (2, 3, 4, 192)
    means = torch.nn.functional.avg_pool3d(pixels.movedim(-1, 0), 4).movedim(0, -1)
    torch.testing.assert_close(patches[..., :3], means)
    torch.testing.assert_close(pixels_of_patches(patches), pixels)


def test_bands_are_in_binary_order_of_time_height_and_width():
    for axis, band in ((2, 1), (1, 2), (0, 4)):
        ramp = torch.zeros(4, 4, 4, 3)
        ramp.movedim(axis, -1)[:] = torch.tensor([0.0, 0, 1, 1])
        # The second round sees the ramp as a step, and its bands are the more significant ones.
        used = patches_of_pixels(ramp)[0, 0, 0].nonzero()[:, 0].tolist()
        assert used == [0, 1, 2, *range(24 * band, 24 * band + 3)]
