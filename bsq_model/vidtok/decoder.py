"""VidTok's decoder: values of codes to pixels; attributes have the names that published weights have.

Axes: T frames, H and W pixels, C = 3 colours, D dimensions of a code, t, h and w of the token grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.layers.images.blocks import Upsample
from bitmill.bsq_model.layers.past_frames import CausalConv3d, Past
from bitmill.bsq_model.vidtok.blocks import Middle, frame_blocks, temporal_blocks
from bitmill.bsq_model.vidtok.norms import frame_norm
from bitmill.bsq_model.vidtok.resampling import TemporalUpsample
from bitmill.schemas.models.vidtok_config import VidTokConfig


class FrameLevel(nn.Module):
    """What a level does within frames."""

    def __init__(self, channels: int, outputs: int, config: VidTokConfig, *, doubles: bool) -> None:
        super().__init__()
        self.block = frame_blocks(channels, outputs, config.num_res_blocks + 1, config.norm)
        self.upsample = Upsample(outputs) if doubles else None


class TemporalLevel(nn.Module):
    """What a level does across frames."""

    def __init__(self, channels: int, config: VidTokConfig, upsample: TemporalUpsample | None) -> None:
        super().__init__()
        self.block = temporal_blocks(channels, config.num_res_blocks + 1, config.time_pad, config.norm)
        self.upsample = upsample


class VidTokDecoder(nn.Module):
    """Decodes one clip row by row."""

    def __init__(self, config: VidTokConfig) -> None:
        super().__init__()
        self._config = config
        pad, channels = config.time_pad, config.level_channels
        self.conv_in = CausalConv3d(len(config.levels), channels[-1], pad)
        self.mid = Middle(channels[-1], pad, config.norm)
        self._levels = [
            (
                FrameLevel((*channels, channels[-1])[level + 1], outputs, config, doubles=level > 0),
                TemporalLevel(outputs, config, self._temporal_upsample(level)),
            )
            for level, outputs in enumerate(channels)
        ]
        self.up = nn.ModuleList(frames for frames, _ in self._levels)
        self.up_temporal = nn.ModuleList(temporal for _, temporal in self._levels)
        self.norm_out = frame_norm(channels[0], config.norm)
        self.conv_out = CausalConv3d(channels[0], 3, pad)

    def forward(self, x_thwD: Tensor, past: Past, *, is_end: bool) -> Tensor:
        """Return the frames [T, H, W, C] that the next row of tokens completes, not clamped to [−1, 1]."""
        x = self.mid(self.conv_in(x_thwD, past), past)
        for frames, temporal in reversed(self._levels):
            for frame_block, temporal_block in zip(frames.block, temporal.block, strict=True):
                x = temporal_block(frame_block(x), past)
            if frames.upsample is not None:
                x = frames.upsample(x)
            if temporal.upsample is not None:
                x = temporal.upsample(x, past, is_end=is_end)
        x = self.conv_out(self.norm_out.silu_into(x, x), past)
        # The first row stands for the lead frame, its last one.
        return x[-1:] if past.is_start else x

    def _temporal_upsample(self, level: int) -> TemporalUpsample | None:
        """The frames are doubled at the levels ``num_time_steps`` to 1, in this order."""
        config = self._config
        if not 1 <= level <= config.num_time_steps:
            return None
        interpolates = config.version != "1.0"
        return TemporalUpsample(config.level_channels[level], config.time_pad, interpolates=interpolates)
