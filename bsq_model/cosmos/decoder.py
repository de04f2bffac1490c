"""The decoder of Cosmos DV; attributes have the names that published weights have.

Axes: C channels, T frames, H and W pixels, Z channels of the input, t, h and w of the token grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.cosmos.blocks import Attention, ConvPair, FrameNorm, Middle, ResidualBlock, norm_silu
from bitmill.bsq_model.cosmos.resampling import Upsample
from bitmill.bsq_model.cosmos.wavelet import PATCH, pixels_of_patches
from bitmill.bsq_model.layers.past_frames import Past
from bitmill.schemas.models.cosmos_config import CosmosVideoConfig


class Level(nn.Module):
    """The blocks at one resolution, and the change to the next."""

    def __init__(
        self, channels: int, outputs: int, config: CosmosVideoConfig, *, level: int, space: bool, time: bool
    ) -> None:
        super().__init__()
        num_blocks = config.num_res_blocks + 1
        self.block = nn.ModuleList(
            ResidualBlock(outputs if index else channels, outputs) for index in range(num_blocks)
        )
        has_attention = level in config.attention_levels
        self.attn = nn.ModuleList(Attention(outputs) for _ in range(num_blocks if has_attention else 0))
        self.upsample = Upsample(outputs, space=space, time=time) if space or time else None

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return the next level's input."""
        for index, block in enumerate(self.block):
            x_THWC = block(x_THWC, past)
            if self.attn:
                x_THWC = self.attn[index](x_THWC, past)
        return x_THWC if self.upsample is None else self.upsample(x_THWC, past)


class CosmosDecoder(nn.Module):
    """Decodes one clip row by row."""

    def __init__(self, config: CosmosVideoConfig) -> None:
        super().__init__()
        channels, steps = config.level_channels, upsampled(config)
        self.conv_in = ConvPair(config.z_channels, channels[-1])
        self.mid = Middle(channels[-1])
        self.up = nn.ModuleList(
            Level(inputs, outputs, config, level=level, space=steps[level][0], time=steps[level][1])
            for level, (inputs, outputs) in enumerate(
                zip((*channels[1:], channels[-1]), channels, strict=True)
            )
        )
        self.norm_out = FrameNorm(channels[0])
        self.conv_out = ConvPair(channels[0], 3 * PATCH**3)

    def forward(self, x_thwZ: Tensor, past: Past) -> Tensor:
        """Return the frames [T, H, W, C] of the next rows of tokens, about −1 to 1, not clamped."""
        x = self.mid(self.conv_in(x_thwZ, past), past)
        for level in reversed(self.up):
            x = level(x, past)
        frames = pixels_of_patches(self.conv_out(norm_silu(self.norm_out, x), past))
        # The lead frame is the last one of its patch.
        return frames[-1:] if past.is_start else frames


def upsampled(config: CosmosVideoConfig) -> list[tuple[bool, bool]]:
    """Return of each level whether it doubles space and time: not the mirror of the encoder.

    Time is doubled from the second deepest level on, and space with it; where space is doubled more often,
    it begins at the deepest level.
    """
    deepest = len(config.channel_multipliers) - 1
    found: list[tuple[bool, bool]] = []
    for level in range(deepest + 1):
        rank = deepest - level
        time = 0 < rank <= config.num_time_steps
        space = time or (rank < config.num_space_steps and config.num_space_steps > config.num_time_steps)
        found.append((space, time))
    return found
