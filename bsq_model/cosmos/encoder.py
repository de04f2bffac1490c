"""The encoder of Cosmos DV; attributes have the names that published weights have.

Axes: T frames of a chunk, C channels, H and W pixels, Z channels of the output, t, h and w of the token grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.cosmos.blocks import Attention, ConvPair, FrameNorm, Middle, ResidualBlock, norm_silu
from bitmill.bsq_model.cosmos.resampling import Downsample
from bitmill.bsq_model.cosmos.wavelet import PATCH, patches_of_pixels
from bitmill.bsq_model.layers.past_frames import Past
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

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return the next level's input."""
        for index, block in enumerate(self.block):
            x_THWC = block(x_THWC, past)
            if self.attn:
                x_THWC = self.attn[index](x_THWC, past)
        return x_THWC if self.downsample is None else self.downsample(x_THWC, past)


class CosmosEncoder(nn.Module):
    """Encodes one clip chunk by chunk."""

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

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return [t, h, w, Z] of pixels in [−1, 1].

        T is 1, and ``frames_per_token`` after the chunks of earlier calls with ``past``.
        """
        # The lead frame makes a patch by itself.
        x = self.conv_in(
            patches_of_pixels(x_THWC.expand(PATCH, -1, -1, -1) if past.is_start else x_THWC), past
        )
        for level in self.down:
            x = level(x, past)
        return self.conv_out(norm_silu(self.norm_out, self.mid(x, past)), past)
