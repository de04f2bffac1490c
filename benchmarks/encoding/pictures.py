"""Clips to measure with: smooth colours that fade under noise, the same for a seed everywhere."""

import torch
from torch import Tensor
from torch.nn import functional


def synthetic_clip(num_frames: int, side_px: int, seed: int) -> Tensor:
    """uint8 [T, H, W, 3]: two smooth pictures, one fading into the other, under noise of 5 grey levels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, side_px // 16, side_px // 16, generator=generator) * 255
    first, last = functional.interpolate(coarse, (side_px, side_px), mode="bilinear")
    fade = torch.linspace(0, 1, num_frames).view(-1, 1, 1, 1)
    frames = first * (1 - fade) + last * fade
    frames = frames + 5 * torch.randn(frames.shape, generator=generator)
    return frames.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
