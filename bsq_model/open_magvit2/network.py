"""The network of Open-MAGVIT2's tokenizers of images; attributes have the names that published weights have.

Axes: C channels, T = t = 1 image, H and W pixels or positions, L bits of a code, h and w of the token grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.layers.frames import conv_frames
from bitmill.bsq_model.layers.images.blocks import ImageConv, ImageNorm, norm_silu, residual_blocks
from bitmill.bsq_model.layers.past_frames import Past
from bitmill.bsq_model.open_magvit2.adaptive_norm import AdaptiveNorm
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config


class Downsample(nn.Conv2d):
    """Halves height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.Conv2d's name)
        """Return [T, H/2, W/2, C]: zeros are before the first row and column, none after the last."""
        return conv_frames(input, self, pad=1, stride=2)


class Upsample(nn.Module):
    """Doubles height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ImageConv(channels, 4 * channels)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return [T, 2·H, 2·W, C]: row and column within a square of four go before the channel."""
        num_images, height, width, channels = x_THWC.shape
        squares = self.conv1(x_THWC).view(num_images, height, width, 2, 2, channels)
        return squares.transpose(2, 3).reshape(num_images, 2 * height, 2 * width, channels)


class DownLevel(nn.Module):
    """The encoder's blocks at one resolution, and the change to the next."""

    def __init__(self, channels: int, outputs: int, num_blocks: int, *, halves: bool) -> None:
        super().__init__()
        self.block = residual_blocks(channels, outputs, num_blocks, bias=False)
        self.downsample = Downsample(outputs) if halves else nn.Identity()

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the next level's input."""
        return self.downsample(self.block(x_THWC))


class UpLevel(nn.Module):
    """The decoder's blocks at one resolution, and the change to the next."""

    def __init__(self, channels: int, outputs: int, num_blocks: int, *, doubles: bool) -> None:
        super().__init__()
        self.block = residual_blocks(channels, outputs, num_blocks, bias=False)
        self.upsample = Upsample(outputs) if doubles else nn.Identity()

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the next level's input."""
        return self.upsample(self.block(x_THWC))


class Encoder(nn.Module):
    """Encodes images to [t, h, w, L]."""

    def __init__(self, config: OpenMagvit2Config) -> None:
        super().__init__()
        channels, num_blocks = (config.channels, *config.level_channels), config.num_res_blocks
        last = len(config.level_channels) - 1
        self.conv_in = ImageConv(3, config.channels, bias=False)
        self.down = nn.Sequential(
            *(
                DownLevel(channels[level], channels[level + 1], num_blocks, halves=level < last)
                for level in range(last + 1)
            )
        )
        self.mid_block = residual_blocks(channels[-1], channels[-1], num_blocks, bias=False)
        self.norm_out = ImageNorm(channels[-1])
        self.conv_out = ImageConv(channels[-1], config.bits_per_token, 1)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return [t, h, w, L] of pixels in [−1, 1]."""
        x = self.mid_block(self.down(self.conv_in(x_THWC)))
        return self.conv_out(norm_silu(self.norm_out, x))


class Decoder(nn.Module):
    """Decodes [t, h, w, L] to images."""

    def __init__(self, config: OpenMagvit2Config) -> None:
        super().__init__()
        channels, num_blocks = config.level_channels, config.num_res_blocks
        inputs = (*channels[1:], channels[-1])
        self.conv_in = ImageConv(config.bits_per_token, channels[-1])
        self.mid_block = residual_blocks(channels[-1], channels[-1], num_blocks, bias=False)
        self.adaptive = nn.ModuleList(AdaptiveNorm(config.bits_per_token, width) for width in inputs)
        self.up = nn.ModuleList(
            UpLevel(inputs[level], outputs, num_blocks, doubles=level > 0)
            for level, outputs in enumerate(channels)
        )
        self.norm_out = ImageNorm(channels[0])
        self.conv_out = ImageConv(channels[0], 3)

    def forward(self, values_thwL: Tensor) -> Tensor:
        """Return pixels [T, H, W, C], about −1 to 1, not clamped."""
        x = self.mid_block(self.conv_in(values_thwL))
        for norm, level in zip(reversed(self.adaptive), reversed(self.up), strict=True):
            x = level(norm(x, values_thwL))
        return self.conv_out(norm_silu(self.norm_out, x))


class OpenMagvit2Network(nn.Module):
    """See ``published.tokenizer.PublishedTokenizer``, which runs it."""

    def __init__(self, config: OpenMagvit2Config) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def latents(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return latents [t, h, w, L] of pixels in [−1, 1]; nothing is ``past``."""
        del past
        return self.encoder(x_THWC)

    def pixels(self, values_thwL: Tensor, past: Past, *, is_end: bool) -> Tensor:
        """Return pixels [T, H, W, C], about −1 to 1, not clamped, of the quantizer's values.

        Raises UsageError if there is one token only.
        """
        del past, is_end
        return self.decoder(values_thwL)
