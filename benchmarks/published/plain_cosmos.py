"""Cosmos DV over whole clips, written plainly."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.published.plain import Plain, doubled_in_space
from bitmill.schemas.models.cosmos_config import CosmosVideoConfig

_AROUND = (1, 1, 1, 1)
_PATCH = 4


class PlainCosmos(Plain):
    """Pixels in [−1, 1] to latents, and values of codes to pixels."""

    def __init__(self, config: CosmosVideoConfig, weights: Mapping[str, Tensor]) -> None:
        super().__init__(weights)
        self._config = config
        self._num_levels = len(config.channel_multipliers)

    def latents(self, x: Tensor) -> Tensor:
        """Of pixels [B, 3, T, H, W], T = 1 + k·``frames_per_token``."""
        x = torch.cat((x[:, :, :1].expand(-1, -1, _PATCH - 1, -1, -1), x), dim=2)
        x = self._pair("encoder.conv_in", _patches(x))
        config = self._config
        for level in range(self._num_levels):
            space, time = level < config.num_space_steps, level < config.num_time_steps
            x = self._blocks(f"encoder.down.{level}", level, x, config.num_res_blocks)
            if space or time:
                x = self._halved(f"encoder.down.{level}.downsample", x, space=space, time=time)
        x = self._normed("encoder.norm_out", self._middle("encoder.mid", x))
        return self._conv("quant_conv.conv3d", self._pair("encoder.conv_out", x))

    def pixels(self, values: Tensor) -> Tensor:
        """Of values [B, D, t, h, w]."""
        x = self._conv("post_quant_conv.conv3d", values)
        x = self._middle("decoder.mid", self._pair("decoder.conv_in", x))
        config = self._config
        for rank in range(self._num_levels):
            level = self._num_levels - 1 - rank
            x = self._blocks(f"decoder.up.{level}", level, x, config.num_res_blocks + 1)
            time = 0 < rank <= config.num_time_steps
            space = time or rank < config.num_space_steps > config.num_time_steps
            if space or time:
                x = self._twice(f"decoder.up.{level}.upsample", x, space=space, time=time)
        x = self._pair("decoder.conv_out", self._normed("decoder.norm_out", x))
        return _pixels(x)[:, :, _PATCH - 1 :]

    def _pair(self, name: str, x: Tensor) -> Tensor:
        return self._conv(f"{name}.1.conv3d", self._conv(f"{name}.0.conv3d", x, pad=_AROUND), before=2)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = (self._weights[f"{name}.norm.{part}"] for part in ("weight", "bias"))
        frames = x.transpose(1, 2).flatten(0, 1)
        normed = functional.group_norm(frames, 1, weight, bias, 1e-6)
        return normed.unflatten(0, (len(x), -1)).transpose(1, 2)

    def _normed(self, name: str, x: Tensor) -> Tensor:
        return functional.silu(self._norm(name, x))

    def _blocks(self, name: str, level: int, x: Tensor, num_blocks: int) -> Tensor:
        for index in range(num_blocks):
            x = self._block(f"{name}.block.{index}", x)
            if level in self._config.attention_levels:
                x = self._attention(f"{name}.attn.{index}", x)
        return x

    def _block(self, name: str, x: Tensor) -> Tensor:
        inner = self._pair(f"{name}.conv1", self._normed(f"{name}.norm1", x))
        inner = self._pair(f"{name}.conv2", self._normed(f"{name}.norm2", inner))
        shortcut = f"{name}.nin_shortcut.conv3d"
        return inner + (self._conv(shortcut, x) if self._has(shortcut) else x)

    def _attention(self, name: str, x: Tensor) -> Tensor:
        for part, in_time in ((f"{name}.0", False), (f"{name}.1", True)):
            x = self._attend(part, x, self._norm(f"{part}.norm", x), "conv3d", in_time=in_time)
        return x

    def _middle(self, name: str, x: Tensor) -> Tensor:
        return self._block(
            f"{name}.block_2", self._attention(f"{name}.attn_1", self._block(f"{name}.block_1", x))
        )

    def _halved(self, name: str, x: Tensor, *, space: bool, time: bool) -> Tensor:
        if space:
            convolved = self._conv(f"{name}.conv1.conv3d", x, stride=(1, 2, 2), pad=(0, 1, 0, 1))
            x = convolved + functional.avg_pool3d(x, (1, 2, 2))
        if time:
            x = torch.cat((x[:, :, :1], x), dim=2)
            convolved = self._conv(f"{name}.conv2.conv3d", x, stride=(2, 1, 1), before=1)
            x = convolved + functional.avg_pool3d(x, (2, 1, 1))
        return self._conv(f"{name}.conv3.conv3d", x)

    def _twice(self, name: str, x: Tensor, *, space: bool, time: bool) -> Tensor:
        if time:
            x = x.repeat_interleave(2, dim=2)[:, :, 1:]
            x = x + self._conv(f"{name}.conv1.conv3d", x, before=2)
        if space:
            x = doubled_in_space(x)
            x = x + self._conv(f"{name}.conv2.conv3d", x, pad=_AROUND)
        return self._conv(f"{name}.conv3.conv3d", x)


def _patches(x: Tensor) -> Tensor:
    for _ in range(2):
        for axis in (4, 3, 2):
            one, other = x.unflatten(axis, (-1, 2)).unbind(axis + 1)
            x = torch.cat((one + other, one - other), dim=1) / 2
    return x


def _pixels(x: Tensor) -> Tensor:
    for _ in range(2):
        for axis in (2, 3, 4):
            low, high = x.chunk(2, dim=1)
            x = torch.stack((low + high, low - high), dim=axis + 1).flatten(axis, axis + 1)
    return x
