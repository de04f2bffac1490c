"""The encoder and decoder of images; attributes have the names of Cosmos DI's weights.

Axes: T images, H and W pixels, h and w positions of the latents, C and Z channels.
"""

from typing import Protocol

from torch import Tensor, nn

from bitmill.bsq_model.layers.images.blocks import (
    Downsample,
    ImageConv,
    ImageNorm,
    Middle,
    Upsample,
    norm_silu,
    residual_blocks,
)


class ImageLevels(Protocol):
    """What a config says of the levels: level 0 has the resolution of the encoder's input."""

    @property
    def channels(self) -> int:
        """Of the encoder's first convolution."""
        ...

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        ...

    @property
    def num_res_blocks(self) -> int:
        """Per level of the encoder; the decoder has one more."""
        ...

    @property
    def num_space_steps(self) -> int:
        """How often height and width are halved: after the first levels, doubled after the deepest ones."""
        ...


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
    """Halves images to latents; without attention, or with some at the lowest resolution."""

    def __init__(self, levels: ImageLevels, *, inputs: int, outputs: int, attends: bool) -> None:
        super().__init__()
        channels = (levels.channels, *levels.level_channels)
        self.conv_in = ImageConv(inputs, levels.channels)
        self.down = nn.Sequential(
            *(
                DownLevel(
                    channels[level],
                    channels[level + 1],
                    levels.num_res_blocks,
                    halves=level < levels.num_space_steps,
                )
                for level in range(len(channels) - 1)
            )
        )
        self.mid = Middle(channels[-1], attends=attends)
        self.norm_out = ImageNorm(channels[-1])
        self.conv_out = ImageConv(channels[-1], outputs)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return [T, h, w, outputs]."""
        x = self.mid(self.down(self.conv_in(x_THWC)))
        return self.conv_out(norm_silu(self.norm_out, x))


class ImageDecoder(nn.Module):
    """Doubles what the decoder is given to images; see ``ImageEncoder``."""

    def __init__(self, levels: ImageLevels, *, inputs: int, outputs: int, attends: bool) -> None:
        super().__init__()
        channels = levels.level_channels
        last = len(channels) - 1
        self.conv_in = ImageConv(inputs, channels[-1])
        self.mid = Middle(channels[-1], attends=attends)
        self.up = nn.ModuleList(
            UpLevel(
                channels[min(level + 1, last)],
                level_outputs,
                levels.num_res_blocks + 1,
                doubles=last - level < levels.num_space_steps,
            )
            for level, level_outputs in enumerate(channels)
        )
        self.norm_out = ImageNorm(channels[0])
        self.conv_out = ImageConv(channels[0], outputs)

    def forward(self, x_ThwZ: Tensor) -> Tensor:
        """Return [T, H, W, outputs]."""
        x = self.mid(self.conv_in(x_ThwZ))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(norm_silu(self.norm_out, x))
