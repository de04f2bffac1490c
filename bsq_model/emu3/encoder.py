"""Emu3's encoder: pixels to latents; attributes have the names that published weights have.

Axes: T frames of a chunk, H and W positions, C channels, L channels of the latents, t, h and w of the token
grid.
"""

import torch
from torch import Tensor, nn

from bitmill.bsq_model.emu3.temporal import TemporalBlock, TemporalDownsample
from bitmill.bsq_model.layers.images.blocks import (
    Attention,
    Downsample,
    ImageConv,
    ImageNorm,
    Middle,
    ResidualBlock,
    norm_silu,
)
from bitmill.bsq_model.layers.past_frames import Past
from bitmill.schemas.models.emu3_config import Emu3Config


class DownLevel(nn.Module):
    """The blocks at one resolution, and the change to the next."""

    def __init__(self, channels: int, outputs: int, config: Emu3Config, *, level: int) -> None:
        super().__init__()
        num_blocks = config.num_res_blocks
        self.block = nn.ModuleList(
            ResidualBlock(outputs if index else channels, outputs) for index in range(num_blocks)
        )
        has_attention = level in config.attention_levels
        self.attn = nn.ModuleList(Attention(outputs) for _ in range(num_blocks if has_attention else 0))
        is_last = level == len(config.channel_multipliers) - 1
        self.downsample = nn.Identity() if is_last else Downsample(outputs)

    def forward(self, x_THWC: Tensor) -> Tensor:
        """Return the next level's input."""
        for index, block in enumerate(self.block):
            x_THWC = block(x_THWC)
            if self.attn:
                x_THWC = self.attn[index](x_THWC)
        return self.downsample(x_THWC)


class Emu3Encoder(nn.Module):
    """Encodes one clip chunk by chunk: each frame by itself, then in time."""

    def __init__(self, config: Emu3Config) -> None:
        super().__init__()
        channels, latents = (config.channels, *config.level_channels), config.latent_channels
        self.conv_in = ImageConv(3, config.channels)
        self.down = nn.Sequential(
            *(
                DownLevel(channels[level], channels[level + 1], config, level=level)
                for level in range(len(channels) - 1)
            )
        )
        self.mid = Middle(channels[-1])
        self.norm_out = ImageNorm(channels[-1])
        self.conv_out = ImageConv(channels[-1], latents)
        self.time_conv = nn.ModuleList(TemporalDownsample(latents) for _ in range(config.num_time_steps))
        self.time_res_stack = nn.ModuleList(TemporalBlock(latents) for _ in range(config.num_res_blocks))

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return [t, h, w, L] of pixels in [−1, 1], t = T / ``frames_per_token``."""
        # Frames one at a time: several would take as much more memory.
        x = torch.cat([self._frame(x_1HWC) for x_1HWC in x_THWC.split(1)])
        for layer in (*self.time_conv, *self.time_res_stack):
            x = layer(x, past)
        return x

    def _frame(self, x_1HWC: Tensor) -> Tensor:
        x = self.mid(self.down(self.conv_in(x_1HWC)))
        return self.conv_out(norm_silu(self.norm_out, x))
