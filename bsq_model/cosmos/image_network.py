"""The network of Cosmos DI; attributes have the names that published weights have.

Axes: B images, C channels, T = t = 1, H and W pixels, Z channels between the networks, D dimensions of a
code, h and w of the token grid.
"""

from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.cosmos.image_blocks import (
    Downsample,
    Middle,
    Upsample,
    image_conv,
    image_norm,
    residual_blocks,
)
from bitmill.bsq_model.cosmos.wavelet import PATCH, image_patches, image_pixels
from bitmill.bsq_model.layers.causal_conv import Past
from bitmill.schemas.models.cosmos_config import CosmosImageConfig


class DownLevel(nn.Module):
    """The encoder's blocks at one resolution, and the change to the next."""

    def __init__(self, channels: int, outputs: int, num_blocks: int, *, halves: bool) -> None:
        super().__init__()
        self.block = residual_blocks(channels, outputs, num_blocks)
        self.downsample = Downsample(outputs) if halves else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the next level's input."""
        return self.downsample(self.block(x_BCHW))


class UpLevel(nn.Module):
    """The decoder's blocks at one resolution, and the change to the next."""

    def __init__(self, channels: int, outputs: int, num_blocks: int, *, doubles: bool) -> None:
        super().__init__()
        self.block = residual_blocks(channels, outputs, num_blocks)
        self.upsample = Upsample(outputs) if doubles else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the next level's input."""
        return self.upsample(self.block(x_BCHW))


class ImageEncoder(nn.Module):
    """Encodes images to [B, Z, h, w]."""

    def __init__(self, config: CosmosImageConfig) -> None:
        super().__init__()
        channels = (config.channels, *config.level_channels)
        self.conv_in = image_conv(3 * PATCH**2, config.channels)
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
        self.norm_out = image_norm(channels[-1])
        self.conv_out = image_conv(channels[-1], config.z_channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, Z, h, w] of pixels in [−1, 1]."""
        x = self.mid(self.down(self.conv_in(image_patches(x_BCHW))))
        return self.conv_out(functional.silu(self.norm_out(x)))


class ImageDecoder(nn.Module):
    """Decodes [B, Z, h, w] to images."""

    def __init__(self, config: CosmosImageConfig) -> None:
        super().__init__()
        channels = config.level_channels
        last = len(channels) - 1
        self.conv_in = image_conv(config.z_channels, channels[-1])
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
        self.norm_out = image_norm(channels[0])
        self.conv_out = image_conv(channels[0], 3 * PATCH**2)

    def forward(self, x_BZhw: Tensor) -> Tensor:
        """Return pixels [B, C, H, W], about −1 to 1, not clamped."""
        x = self.mid(self.conv_in(x_BZhw))
        for level in reversed(self.up):
            x = level(x)
        return image_pixels(self.conv_out(functional.silu(self.norm_out(x))))


class CosmosImageNetwork(nn.Module):
    """See ``fsq.tokenizer.FSQTokenizer``, which runs it."""

    def __init__(self, config: CosmosImageConfig) -> None:
        super().__init__()
        self.encoder = ImageEncoder(config)
        self.quant_conv = nn.Conv2d(config.z_channels, len(config.levels), 1)
        self.post_quant_conv = nn.Conv2d(len(config.levels), config.z_channels, 1)
        self.decoder = ImageDecoder(config)

    def latents(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return latents [B, D, t, h, w] of pixels in [−1, 1]; nothing is ``past``."""
        del past
        return self.quant_conv(self.encoder(x_BCTHW[:, :, 0]))[:, :, None]

    def pixels(self, values_BDthw: Tensor) -> Tensor:
        """Return pixels [B, C, T, H, W], about −1 to 1, not clamped, of the quantizer's values."""
        return self.decoder(self.post_quant_conv(values_BDthw[:, :, 0]))[:, :, None]
