"""Emu3's decoder: values of codes to pixels; attributes have the names that published weights have.

Axes: T frames, H and W pixels, C channels, L channels of the codes' values, t, h and w of the token grid.
"""

import torch
from torch import Tensor, nn

from bitmill.bsq_model.emu3.guided_blocks import GuidedAttention, GuidedBlock, GuidedMiddle, GuidedNorm
from bitmill.bsq_model.emu3.temporal import TemporalBlock, TemporalUpsample
from bitmill.bsq_model.layers.images.blocks import ImageConv, Upsample
from bitmill.bsq_model.layers.past_frames import Past
from bitmill.schemas.models.emu3_config import Emu3Config


class UpLevel(nn.Module):
    """The blocks at one resolution, and the change to the next."""

    def __init__(self, channels: int, outputs: int, config: Emu3Config, *, level: int) -> None:
        super().__init__()
        num_blocks, guide = config.num_res_blocks + 1, config.latent_channels
        self.block = nn.ModuleList(
            GuidedBlock(outputs if index else channels, outputs, guide) for index in range(num_blocks)
        )
        num_attentions = num_blocks if level in config.attention_levels else 0
        self.attn = nn.ModuleList(GuidedAttention(outputs, guide) for _ in range(num_attentions))
        self.upsample = Upsample(outputs) if level else nn.Identity()

    def forward(self, x_THWC: Tensor, guide_ThwL: Tensor) -> Tensor:
        """Return the next level's input."""
        for index, block in enumerate(self.block):
            x_THWC = block(x_THWC, guide_ThwL)
            if self.attn:
                x_THWC = self.attn[index](x_THWC, guide_ThwL)
        return self.upsample(x_THWC)


class Emu3Decoder(nn.Module):
    """Decodes one clip row by row: in time, then each frame by itself."""

    def __init__(self, config: Emu3Config) -> None:
        super().__init__()
        channels, values = config.level_channels, config.latent_channels
        self.time_res_stack = nn.ModuleList(TemporalBlock(values) for _ in range(config.num_res_blocks))
        self.time_conv = nn.ModuleList(TemporalUpsample(values) for _ in range(config.num_time_steps))
        self.conv_in = ImageConv(values, channels[-1])
        self.mid = GuidedMiddle(channels[-1], values)
        self.up = nn.ModuleList(
            UpLevel(inputs, outputs, config, level=level)
            for level, (inputs, outputs) in enumerate(
                zip((*channels[1:], channels[-1]), channels, strict=True)
            )
        )
        self.norm_out = GuidedNorm(channels[0], values)
        self.conv_out = ImageConv(channels[0], 3)

    def forward(self, x_thwL: Tensor, values_thwL: Tensor, past: Past) -> Tensor:
        """Return the frames [T, H, W, 3] of the next rows of tokens, about −1 to 1, not clamped.

        The codes' values guide the decoding of what a convolution has made of them; both pass through the
        same layers in time.
        """
        x, guide = (
            self._frames(part, past.of_input(number)) for number, part in enumerate((x_thwL, values_thwL))
        )
        # Frames one at a time: several would take as much more memory.
        return torch.cat([self._pixels(*one) for one in zip(x.split(1), guide.split(1), strict=True)])

    def _frames(self, x_thwL: Tensor, past: Past) -> Tensor:
        for layer in (*self.time_res_stack, *self.time_conv):
            x_thwL = layer(x_thwL, past)
        return x_thwL

    def _pixels(self, x_1hwL: Tensor, guide_1hwL: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x_1hwL), guide_1hwL)
        for level in reversed(self.up):
            x = level(x, guide_1hwL)
        return self.conv_out(self.norm_out.silu(x, guide_1hwL))
