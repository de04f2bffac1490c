"""The encoder of Cosmos DV; attributes have the names that published weights have.

Axes: B clips, C channels, T frames, H and W pixels, Z channels of the output, t, h and w of the token grid.
"""

import torch
from torch import Tensor, nn

from bitmill.bsq_model.cosmos.blocks import Attention, ConvPair, FrameNorm, Middle, ResidualBlock, norm_silu
from bitmill.bsq_model.cosmos.resampling import Downsample
from bitmill.bsq_model.cosmos.wavelet import PATCH, patches_of_pixels
from bitmill.bsq_model.layers.causal_conv import Past
from bitmill.schemas.models.cosmos_config import CosmosVideoConfig


class Level(nn.Module):
    """The blocks at one resolution, and the change to the next."""

    def __init__(self, channels: int, outputs: int, config: CosmosVideoConfig, *, level: int) -> None:
        super().__init__()
        num_blocks = config.num_res_blocks
        self.block = nn.ModuleList(
            ResidualBlock(outputs if index else channels, outputs) for index in range(num_blocks)
        )
        has_attention = level in config.attention_levels
        self.attn = nn.ModuleList(Attention(outputs) for _ in range(num_blocks if has_attention else 0))
        space, time = level < config.num_space_steps, level < config.num_time_steps
        self.downsample = Downsample(outputs, space=space, time=time) if space or time else None

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return the next level's input."""
        for index, block in enumerate(self.block):
            x_BCTHW = block(x_BCTHW, past)
            if self.attn:
                x_BCTHW = self.attn[index](x_BCTHW, past)
        return x_BCTHW if self.downsample is None else self.downsample(x_BCTHW, past)


class CosmosEncoder(nn.Module):
    """Encodes clips of 1 + k·``frames_per_token`` frames, or one clip chunk by chunk."""

    def __init__(self, config: CosmosVideoConfig) -> None:
        super().__init__()
        channels = (config.channels, *config.level_channels)
        self.conv_in = ConvPair(3 * PATCH**3, config.channels)
        self.down = nn.ModuleList(
            Level(channels[level], channels[level + 1], config, level=level)
            for level in range(len(channels) - 1)
        )
        self.mid = Middle(channels[-1])
        self.norm_out = FrameNorm(channels[-1])
        self.conv_out = ConvPair(channels[-1], config.z_channels)

    def forward(self, x_BCTHW: Tensor, past: Past | None = None) -> Tensor:
        """Return [B, Z, t, h, w] of pixels in [−1, 1].

        With ``past``, the frames follow those of the earlier calls with it: k·``frames_per_token`` of them.
        """
        if not past:
            # The lead frame makes a patch by itself.
            lead_BCTHW = x_BCTHW[:, :, :1].expand(-1, -1, PATCH - 1, -1, -1)
            x_BCTHW = torch.cat((lead_BCTHW, x_BCTHW), dim=2)
        x = self.conv_in(patches_of_pixels(x_BCTHW), past)
        for level in self.down:
            x = level(x, past)
        return self.conv_out(norm_silu(self.norm_out, self.mid(x, past)), past)
