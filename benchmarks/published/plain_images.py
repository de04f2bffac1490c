"""Cosmos DI, Infinity and Open-MAGVIT2, written plainly; images are clips of one frame."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.published.plain import Plain, doubled_in_space
from bitmill.schemas.models.cosmos_config import CosmosImageConfig
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config

_AROUND = (1, 1, 1, 1)
_HEIGHT, _WIDTH = 3, 4


class _Levels(Plain):
    """The blocks of Cosmos DI and Infinity."""

    def __init__(self, config: CosmosImageConfig | InfinityConfig, weights: Mapping[str, Tensor]) -> None:
        super().__init__(weights)
        self._config = config
        self._num_levels = len(config.channel_multipliers)

    def _encoded(self, x: Tensor) -> Tensor:
        x = self._conv("encoder.conv_in", x, pad=_AROUND)
        for level in range(self._num_levels):
            x = self._blocks(f"encoder.down.{level}", x, self._config.num_res_blocks)
            if level < self._config.num_space_steps:
                x = self._conv(f"encoder.down.{level}.downsample.conv", x, stride=(1, 2, 2), pad=(0, 1, 0, 1))
        x = self._normed("encoder.norm_out", self._middle("encoder.mid", x))
        return self._conv("encoder.conv_out", x, pad=_AROUND)

    def _decoded(self, x: Tensor) -> Tensor:
        x = self._middle("decoder.mid", self._conv("decoder.conv_in", x, pad=_AROUND))
        for rank, level in enumerate(reversed(range(self._num_levels))):
            x = self._blocks(f"decoder.up.{level}", x, self._config.num_res_blocks + 1)
            if rank < self._config.num_space_steps:
                x = self._conv(f"decoder.up.{level}.upsample.conv", doubled_in_space(x), pad=_AROUND)
        return self._conv("decoder.conv_out", self._normed("decoder.norm_out", x), pad=_AROUND)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = (self._weights[f"{name}.{part}"] for part in ("weight", "bias"))
        return torch.group_norm(x, 24 if len(weight) % 32 else 32, weight, bias, 1e-6)

    def _normed(self, name: str, x: Tensor) -> Tensor:
        return functional.silu(self._norm(name, x))

    def _blocks(self, name: str, x: Tensor, num_blocks: int) -> Tensor:
        for index in range(num_blocks):
            x = self._block(f"{name}.block.{index}", x)
        return x

    def _block(self, name: str, x: Tensor) -> Tensor:
        inner = self._conv(f"{name}.conv1", self._normed(f"{name}.norm1", x), pad=_AROUND)
        inner = self._conv(f"{name}.conv2", self._normed(f"{name}.norm2", inner), pad=_AROUND)
        shortcut = f"{name}.nin_shortcut"
        return inner + (self._conv(shortcut, x) if self._has(shortcut) else x)

    def _middle(self, name: str, x: Tensor) -> Tensor:
        x = self._block(f"{name}.block_1", x)
        if self._has(f"{name}.attn_1.q"):
            normed = self._norm(f"{name}.attn_1.norm", x)
            q, k, v = (self._conv(f"{name}.attn_1.{part}", normed).flatten(2) for part in "qkv")
            shares = (q.transpose(1, 2) @ k / q.shape[1] ** 0.5).softmax(-1)
            attended = (v @ shares.transpose(1, 2)).view(x.shape)
            x = x + self._conv(f"{name}.attn_1.proj_out", attended)
        return self._block(f"{name}.block_2", x)


class PlainCosmosImage(_Levels):
    """Pixels in [−1, 1] to latents, and values of codes to pixels."""

    def latents(self, x: Tensor) -> Tensor:
        """Of pixels [B, 3, 1, H, W]."""
        for axis in (_HEIGHT, _WIDTH) * 2:
            one, other = x.unflatten(axis, (-1, 2)).unbind(axis + 1)
            x = torch.cat((one + other, one - other), dim=1) / 2
        return self._conv("quant_conv", self._encoded(x))

    def pixels(self, values: Tensor) -> Tensor:
        """Of values [B, D, 1, h, w]."""
        x = self._decoded(self._conv("post_quant_conv", values))
        for axis in (_WIDTH, _HEIGHT) * 2:
            low, high = x.chunk(2, dim=1)
            x = torch.stack((low + high, low - high), dim=axis + 1).flatten(axis, axis + 1)
        return x


class PlainInfinity(_Levels):
    """Pixels in [−1, 1] to latents, and sums of all scales to pixels."""

    def latents(self, x: Tensor) -> Tensor:
        """Of pixels [B, 3, 1, H, W]."""
        return self._encoded(x)

    def pixels(self, values: Tensor) -> Tensor:
        """Of values [B, D, 1, h, w]."""
        return self._decoded(values)


class PlainOpenMagvit2(Plain):
    """Pixels in [−1, 1] to latents, and values of bits to pixels."""

    def __init__(self, config: OpenMagvit2Config, weights: Mapping[str, Tensor]) -> None:
        super().__init__(weights)
        self._levels = range(len(config.channel_multipliers))
        self._blocks = range(config.num_res_blocks)

    def latents(self, x: Tensor) -> Tensor:
        """Of pixels [B, 3, 1, H, W]."""
        x = self._conv("encoder.conv_in", x, pad=_AROUND)
        for level in self._levels:
            x = self._all_blocks(f"encoder.down.{level}.block", x)
            if level < self._levels[-1]:
                x = self._conv(f"encoder.down.{level}.downsample", x, stride=(1, 2, 2), pad=_AROUND)
        x = self._all_blocks("encoder.mid_block", x)
        return self._conv("encoder.conv_out", self._normed("encoder.norm_out", x))

    def pixels(self, values: Tensor) -> Tensor:
        """Of values [1, L, 1, h, w]."""
        x = self._all_blocks("decoder.mid_block", self._conv("decoder.conv_in", values, pad=_AROUND))
        flat = values[0].flatten(1)
        mean = flat.mean(1)
        deviation = (((flat - mean[:, None]) ** 2).sum(1) / (flat.shape[1] - 1) + 1e-6).sqrt()
        for level in reversed(self._levels):
            norm = f"decoder.adaptive.{level}"
            scale, shift = self._linear(f"{norm}.gamma", deviation), self._linear(f"{norm}.beta", mean)
            x = functional.group_norm(x, 32, eps=1e-6) * scale + shift
            x = self._all_blocks(f"decoder.up.{level}.block", x)
            if level:
                x = self._conv(f"decoder.up.{level}.upsample.conv1", x, pad=_AROUND)
                rows = [torch.stack(row.chunk(2, dim=1), dim=-1) for row in x.chunk(2, dim=1)]
                x = torch.stack([row.flatten(-2) for row in rows], dim=-2).flatten(-3, -2)
        return self._conv("decoder.conv_out", self._normed("decoder.norm_out", x), pad=_AROUND)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        y = functional.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])
        return y[:, None, None, None]

    def _normed(self, name: str, x: Tensor) -> Tensor:
        weight, bias = (self._weights[f"{name}.{part}"] for part in ("weight", "bias"))
        return functional.silu(torch.group_norm(x, 32, weight, bias, 1e-6))

    def _all_blocks(self, name: str, x: Tensor) -> Tensor:
        for block in (f"{name}.{index}" for index in self._blocks):
            inner = self._conv(f"{block}.conv1", self._normed(f"{block}.norm1", x), pad=_AROUND)
            inner = self._conv(f"{block}.conv2", self._normed(f"{block}.norm2", inner), pad=_AROUND)
            shortcut = f"{block}.nin_shortcut"
            x = inner + (self._conv(shortcut, x) if self._has(shortcut) else x)
        return x
