"""The network of Cosmos DI; attributes have the names that published weights have.

Axes: C channels, T = t = 1 image, H and W pixels, Z channels between the networks, D dimensions of a
code, h and w of the token grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.cosmos.wavelet import PATCH, image_patches, image_pixels
from bitmill.bsq_model.layers.causal_conv import Past
from bitmill.bsq_model.layers.images.blocks import (
    Downsample,
    ImageConv,
    ImageNorm,
    Middle,
    Upsample,
    norm_silu,
    residual_blocks,
)
from bitmill.schemas.models.cosmos_config import CosmosImageConfig


class DownLevel(nn.Module):
    """The encoder's blocks at one resolution, and the change to the next."""

    def __init__(self, channels: int, outputs: int, num_blocks: int, *, halves: bool) -> None:
        super().__init__()
        self.block = residual_blocks(channels, outputs, num_blocks)
        self.downsample = Downsample(outputs) if halves else nn.Identity()

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the next level's input."""
        return self.downsample(self.block(x_THWC))


class UpLevel(nn.Module):
    """The decoder's blocks at one resolution, and the change to the next."""

    def __init__(self, channels: int, outputs: int, num_blocks: int, *, doubles: bool) -> None:
        super().__init__()
        self.block = residual_blocks(channels, outputs, num_blocks)
        self.upsample = Upsample(outputs) if doubles else nn.Identity()

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the next level's input."""
        return self.upsample(self.block(x_THWC))


class ImageEncoder(nn.Module):
    """Encodes images to [t, h, w, Z]."""

    def __init__(self, config: CosmosImageConfig) -> None:
        super().__init__()
        channels = (config.channels, *config.level_channels)
        self.conv_in = ImageConv(3 * PATCH**2, config.channels)
        self.down = nn.Sequential(
            *(
                DownLevel(
                    channels[level],
                    channels[level + 1],
                    config.num_res_blocks,
                    halves=level < config.num_space_steps,
                )
                for level in range(len(channels) - 1)
            )
        )
        self.mid = Middle(channels[-1])
        self.norm_out = ImageNorm(channels[-1])
        self.conv_out = ImageConv(channels[-1], config.z_channels)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return [t, h, w, Z] of pixels in [−1, 1]."""
        x = self.mid(self.down(self.conv_in(image_patches(x_THWC))))
        return self.conv_out(norm_silu(self.norm_out, x))


class ImageDecoder(nn.Module):
    """Decodes [t, h, w, Z] to images."""

    def __init__(self, config: CosmosImageConfig) -> None:
        super().__init__()
        channels = config.level_channels
        last = len(channels) - 1
        self.conv_in = ImageConv(config.z_channels, channels[-1])
        self.mid = Middle(channels[-1])
        self.up = nn.ModuleList(
            UpLevel(
                channels[min(level + 1, last)],
                outputs,
                config.num_res_blocks + 1,
                doubles=last - level < config.num_space_steps,
            )
            for level, outputs in enumerate(channels)
        )
        self.norm_out = ImageNorm(channels[0])
        self.conv_out = ImageConv(channels[0], 3 * PATCH**2)

    def forward(self, x_thwZ: Tensor) -> Tensor:
        """Return pixels [T, H, W, C], about −1 to 1, not clamped."""
        x = self.mid(self.conv_in(x_thwZ))
        for level in reversed(self.up):
            x = level(x)
        return image_pixels(self.conv_out(norm_silu(self.norm_out, x)))


class CosmosImageNetwork(nn.Module):
    """See ``published.tokenizer.PublishedTokenizer``, which runs it."""

    def __init__(self, config: CosmosImageConfig) -> None:
        super().__init__()
        self.encoder = ImageEncoder(config)
        self.quant_conv = ImageConv(config.z_channels, len(config.levels), 1)
        self.post_quant_conv = ImageConv(len(config.levels), config.z_channels, 1)
        self.decoder = ImageDecoder(config)

    def latents(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return latents [t, h, w, D] of pixels in [−1, 1]; nothing is ``past``."""
        del past
        return self.quant_conv(self.encoder(x_THWC))

    def pixels(self, values_thwD: Tensor, past: Past, *, is_end: bool) -> Tensor:
        """Return pixels [T, H, W, C], about −1 to 1, not clamped, of the quantizer's values."""
        del past, is_end
        return self.decoder(self.post_quant_conv(values_thwD))
