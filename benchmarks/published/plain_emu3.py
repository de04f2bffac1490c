"""Emu3's vision tokenizer over whole clips, written plainly."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.published.plain import Plain, doubled_in_space
from bitmill.schemas.models.emu3_config import Emu3Config

_AROUND = (1, 1, 1, 1)


class PlainEmu3(Plain):
    """Pixels in [−1, 1] to latents, and rows of the codebook to pixels."""

    def __init__(self, config: Emu3Config, weights: Mapping[str, Tensor]) -> None:
        super().__init__(weights)
        self._config = config
        self._num_levels = len(config.channel_multipliers)

    def latents(self, x: Tensor) -> Tensor:
        """Of pixels [B, 3, T, H, W], T = k·``frames_per_token``."""
        config = self._config
        x = self._conv("encoder.conv_in", x, pad=_AROUND)
        for level in range(self._num_levels):
            x = self._blocks(f"encoder.down.{level}", level, x, None, config.num_res_blocks)
            if level < self._num_levels - 1:
                name = f"encoder.down.{level}.downsample.conv"
                x = self._conv(name, x, stride=(1, 2, 2), pad=(0, 1, 0, 1))
        x = functional.silu(self._norm("encoder.norm_out", self._middle("encoder.mid", x, None), None))
        x = self._conv("encoder.conv_out", x, pad=_AROUND)
        for step in range(config.num_time_steps):
            name = f"encoder.time_conv.{step}.conv.conv"
            x = functional.silu(self._conv(name, x, stride=(2, 1, 1), pad=_AROUND, before=2, zeros=True))
        x = self._temporal_blocks("encoder", x)
        return self._conv("quant_conv.conv", x, before=2, zeros=True)

    def pixels(self, values: Tensor) -> Tensor:
        """Of values [B, L, t, h, w]."""
        config = self._config
        both = torch.cat((self._conv("post_quant_conv.conv", values, before=2, zeros=True), values))
        both = self._temporal_blocks("decoder", both)
        for step in range(config.num_time_steps):
            name, doubled = f"decoder.time_conv.{step}.conv.conv", both.repeat_interleave(2, dim=2)
            both = functional.silu(self._conv(name, doubled, pad=_AROUND, before=2, zeros=True))
        x, guide = both.chunk(2)
        x = self._middle("decoder.mid", self._conv("decoder.conv_in", x, pad=_AROUND), guide)
        for level in reversed(range(self._num_levels)):
            x = self._blocks(f"decoder.up.{level}", level, x, guide, config.num_res_blocks + 1)
            if level:
                x = self._conv(f"decoder.up.{level}.upsample.conv", doubled_in_space(x), pad=_AROUND)
        x = functional.silu(self._norm("decoder.norm_out", x, guide))
        return self._conv("decoder.conv_out", x, pad=_AROUND)

    def _norm(self, name: str, x: Tensor, guide: Tensor | None) -> Tensor:
        layer = name if guide is None else f"{name}.norm_layer"
        weight, bias = (self._weights[f"{layer}.{part}"] for part in ("weight", "bias"))
        frames = functional.group_norm(x.transpose(1, 2).flatten(0, 1), 32, weight, bias, 1e-6)
        normed = frames.unflatten(0, (len(x), -1)).transpose(1, 2)
        if guide is None:
            return normed
        guide = functional.interpolate(guide, size=x.shape[2:], mode="nearest")
        return normed * self._conv(f"{name}.conv_y", guide) + self._conv(f"{name}.conv_b", guide)

    def _blocks(self, name: str, level: int, x: Tensor, guide: Tensor | None, num_blocks: int) -> Tensor:
        for index in range(num_blocks):
            x = self._block(f"{name}.block.{index}", x, guide)
            if level in self._config.attention_levels:
                x = self._attention(f"{name}.attn.{index}", x, guide)
        return x

    def _block(self, name: str, x: Tensor, guide: Tensor | None) -> Tensor:
        inner = x
        for part in (1, 2):
            inner = functional.silu(self._norm(f"{name}.norm{part}", inner, guide))
            inner = self._conv(f"{name}.conv{part}", inner, pad=_AROUND)
        shortcut = f"{name}.nin_shortcut"
        return inner + (self._conv(shortcut, x) if self._has(shortcut) else x)

    def _attention(self, name: str, x: Tensor, guide: Tensor | None) -> Tensor:
        return self._attend(name, x, self._norm(f"{name}.norm", x, guide), "", in_time=False)

    def _middle(self, name: str, x: Tensor, guide: Tensor | None) -> Tensor:
        x = self._attention(f"{name}.attn_1", self._block(f"{name}.block_1", x, guide), guide)
        return self._block(f"{name}.block_2", x, guide)

    def _temporal_blocks(self, name: str, x: Tensor) -> Tensor:
        for index in range(self._config.num_res_blocks):
            inner = x
            for part in (1, 2):
                block = f"{name}.time_res_stack.{index}"
                mean, var, weight, bias = (
                    self._weights[f"{block}.norm{part}.{kind}"]
                    for kind in ("running_mean", "running_var", "weight", "bias")
                )
                inner = functional.silu(functional.batch_norm(inner, mean, var, weight, bias))
                inner = self._conv(f"{block}.conv{part}.conv", inner, pad=_AROUND, before=2, zeros=True)
            x = x + inner
        return x
