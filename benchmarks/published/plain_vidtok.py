"""VidTok over whole clips, written plainly."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.published.plain import Plain, doubled_in_space
from bitmill.schemas.models.vidtok_config import VidTokConfig

_AROUND = (1, 1, 1, 1)


class PlainVidTok(Plain):
    """Pixels in [−1, 1] to latents, and values of codes to pixels."""

    def __init__(self, config: VidTokConfig, weights: Mapping[str, Tensor]) -> None:
        super().__init__(weights)
        self._config = config
        self._num_levels, self._steps = len(config.channel_multipliers), config.num_time_steps
        self._zeros = config.version == "1.0"

    def latents(self, x: Tensor) -> Tensor:
        """Of pixels [B, 3, T, H, W], T = 1 + k·``frames_per_token``."""
        lead = x[:, :, :1].expand(-1, -1, self._config.frames_per_token - 1, -1, -1)
        x = self._causal("encoder.conv_in.conv", torch.cat((lead, x), dim=2))
        last = self._num_levels - 1
        for level in range(self._num_levels):
            x = self._blocks("encoder.down", level, x, self._config.num_res_blocks)
            if level < last:
                x = self._conv(f"encoder.down.{level}.downsample.conv", x, stride=(1, 2, 2), pad=(0, 1, 0, 1))
            if last - self._steps <= level < last:
                x = self._halved(f"encoder.down_temporal.{level}.downsample", x)
        x = self._normed("encoder.norm_out", self._middle("encoder.mid", x))
        return self._causal("encoder.conv_out.conv", x)

    def pixels(self, values: Tensor) -> Tensor:
        """Of values [B, D, t, h, w]."""
        x = self._middle("decoder.mid", self._causal("decoder.conv_in.conv", values))
        for level in reversed(range(self._num_levels)):
            x = self._blocks("decoder.up", level, x, self._config.num_res_blocks + 1)
            if level:
                x = self._conv(f"decoder.up.{level}.upsample.conv", doubled_in_space(x), pad=_AROUND)
            if 1 <= level <= self._steps:
                x = self._twice(f"decoder.up_temporal.{level}.upsample", x, 2 ** (self._steps - level))
        x = self._causal("decoder.conv_out.conv", self._normed("decoder.norm_out", x))
        return x[:, :, self._config.frames_per_token - 1 :]

    def _causal(self, name: str, x: Tensor) -> Tensor:
        return self._conv(name, x, before=2, zeros=self._zeros, pad=_AROUND)

    def _norm(self, name: str, x: Tensor, *, in_time: bool = False) -> Tensor:
        if not self._has(f"{name}.norm"):
            return self._group_norm(name, x, in_time=in_time)
        weight, bias = (self._weights[f"{name}.norm.{part}"] for part in ("weight", "bias"))
        return functional.layer_norm(x.movedim(1, -1), weight.shape, weight, bias, 1e-6).movedim(-1, 1)

    def _group_norm(self, name: str, x: Tensor, *, in_time: bool) -> Tensor:
        """Of each frame; in blocks over time of each position alone."""
        weight, bias = (self._weights[f"{name}.{part}"] for part in ("weight", "bias"))
        samples = x.movedim(1, -1) if in_time else x.movedim(1, 2)
        rows = samples.flatten(0, 3) if in_time else samples.flatten(0, 1)
        normed = functional.group_norm(rows, 32, weight, bias, 1e-6).view(samples.shape)
        return normed.movedim(-1, 1) if in_time else normed.movedim(2, 1)

    def _normed(self, name: str, x: Tensor, *, in_time: bool = False) -> Tensor:
        return functional.silu(self._norm(name, x, in_time=in_time))

    def _blocks(self, name: str, level: int, x: Tensor, num_blocks: int) -> Tensor:
        for index in range(num_blocks):
            in_frames = f"{name}.{level}.block.{index}"
            inner = self._conv(f"{in_frames}.conv1", self._normed(f"{in_frames}.norm1", x), pad=_AROUND)
            inner = self._conv(f"{in_frames}.conv2", self._normed(f"{in_frames}.norm2", inner), pad=_AROUND)
            shortcut = f"{in_frames}.nin_shortcut"
            x = inner + (self._conv(shortcut, x) if self._has(shortcut) else x)
            in_time = f"{name}_temporal.{level}.block.{index}"
            inner = self._over_frames(
                f"{in_time}.conv1.conv", self._normed(f"{in_time}.norm1", x, in_time=True)
            )
            inner = self._normed(f"{in_time}.norm2", inner, in_time=True)
            x = x + self._over_frames(f"{in_time}.conv2.conv", inner)
        return x

    def _over_frames(self, name: str, x: Tensor) -> Tensor:
        return self._conv(name, x, before=2, zeros=self._zeros)

    def _middle(self, name: str, x: Tensor) -> Tensor:
        x = self._middle_block(f"{name}.block_1", x)
        x = self._attend(f"{name}.attn_1", x, self._norm(f"{name}.attn_1.norm", x), "conv", in_time=False)
        return self._middle_block(f"{name}.block_2", x)

    def _middle_block(self, name: str, x: Tensor) -> Tensor:
        inner = self._causal(f"{name}.conv1.conv", self._normed(f"{name}.norm1", x))
        return x + self._causal(f"{name}.conv2.conv", self._normed(f"{name}.norm2", inner))

    def _halved(self, name: str, x: Tensor) -> Tensor:
        first = x[:, :, :1]
        before = torch.zeros_like(first) if self._zeros else first
        average = functional.avg_pool3d(torch.cat((before, x), dim=2), (3, 1, 1), stride=(2, 1, 1))
        convolved = self._conv(
            f"{name}.conv.conv", x, before=1, zeros=self._zeros, pad=_AROUND, stride=(2, 1, 1)
        )
        return self._mixed(name, average, convolved)

    def _twice(self, name: str, x: Tensor, apart: int) -> Tensor:
        if self._zeros:
            x = x.repeat_interleave(2, dim=2)
        else:
            parts = [part for part in (x[:, :, :apart], x[:, :, apart:]) if part.shape[2]]
            x = torch.cat(
                [functional.interpolate(part, scale_factor=(2, 1, 1), mode="trilinear") for part in parts], 2
            )
        return self._mixed(name, x, self._causal(f"{name}.conv.conv", x))

    def _mixed(self, name: str, smooth: Tensor, convolved: Tensor) -> Tensor:
        share = torch.sigmoid(self._weights[f"{name}.mix_factor"])
        return share * smooth + (1 - share) * convolved
