"""VidTok's encoder: pixels to latents; attributes have the names that published weights have.

Axes: T frames of a chunk, H and W pixels, C = 3 colours, D dimensions of a latent, t, h and w of the token
grid.
"""

from torch import Tensor, nn

from bitmill.bsq_model.layers.images.blocks import Downsample
from bitmill.bsq_model.layers.past_frames import CausalConv3d, Past
from bitmill.bsq_model.vidtok.blocks import Middle, frame_blocks, temporal_blocks
from bitmill.bsq_model.vidtok.norms import frame_norm
from bitmill.bsq_model.vidtok.resampling import TemporalDownsample
from bitmill.schemas.models.vidtok_config import VidTokConfig


class FrameLevel(nn.Module):
    """What a level does within frames."""

    def __init__(self, channels: int, outputs: int, config: VidTokConfig, *, halves: bool) -> None:
        super().__init__()
        self.block = frame_blocks(channels, outputs, config.num_res_blocks, config.norm)
        self.downsample = Downsample(outputs) if halves else None


class TemporalLevel(nn.Module):
    """What a level does across frames."""

    def __init__(self, channels: int, config: VidTokConfig, *, halves: bool) -> None:
        super().__init__()
        self.block = temporal_blocks(channels, config.num_res_blocks, config.time_pad, config.norm)
        self.downsample = TemporalDownsample(channels, config.time_pad) if halves else None


class VidTokEncoder(nn.Module):
    """Encodes one clip chunk by chunk."""

    def __init__(self, config: VidTokConfig) -> None:
        super().__init__()
        pad, channels = config.time_pad, config.level_channels
        last = len(channels) - 1
        self.conv_in = CausalConv3d(3, config.channels, pad)
        self._levels = [
            (
                FrameLevel(channels[max(level - 1, 0)], outputs, config, halves=level < last),
                TemporalLevel(outputs, config, halves=last - config.num_time_steps <= level < last),
            )
            for level, outputs in enumerate(channels)
        ]
        self.down = nn.ModuleList(frames for frames, _ in self._levels)
        self.down_temporal = nn.ModuleList(temporal for _, temporal in self._levels)
        self.mid = Middle(channels[-1], pad, config.norm)
        self.norm_out = frame_norm(channels[-1], config.norm)
        self.conv_out = CausalConv3d(channels[-1], len(config.levels), pad)

    def forward(self, x_THWC: Tensor, past: Past) -> Tensor:
        """Return latents [t, h, w, D] of pixels in [−1, 1], t = T / ``frames_per_token``, or 1 of a lead
        frame of version 1.1. The frames follow those of the earlier calls with ``past``."""
        x = self.conv_in(x_THWC, past)
        for frames, temporal in self._levels:
            for frame_block, temporal_block in zip(frames.block, temporal.block, strict=True):
                x = temporal_block(frame_block(x), past)
            if frames.downsample is not None:
                x = frames.downsample(x)
            if temporal.downsample is not None:
                x = temporal.downsample(x, past)
        x = self.mid(x, past)
        return self.conv_out(self.norm_out.silu_into(x, x), past)
