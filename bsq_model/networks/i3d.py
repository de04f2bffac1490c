"""I3D (arXiv 1705.07750) trained on Kinetics-400: the video network that defines FVD.

Axes: B clips, T frames, H and W pixels, C = 3 colours or channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.networks.same_padding import SameConv3d, max_pool_same

SIZE_PX = 224
LEAST_FRAMES = 9
_EPSILON = 1e-3

_MIXED = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
"""(inputs, outputs of each convolution) of each module, by its published name."""

_POOLED_BEFORE = {
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


class I3D(nn.Module):
    """Maps clips to Kinetics-400 logits, on which FVD is defined; frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = _Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = _Unit(64, 64, 1)
        self.Conv3d_2c_3x3 = _Unit(64, 192, 3)
        self.mixed = nn.ModuleDict({name: _Mixed(*sizes) for name, sizes in _MIXED.items()})
        self.logits = SameConv3d(1024, 400, 1, bias=True)
        self.requires_grad_(False).eval()

    def features(self, clips_BTHWC: Tensor) -> Tensor:
        """Map floats in [−1, 1] of at least nine frames to logits [B, 400]; resizes to 224², bilinear."""
        if clips_BTHWC.shape[1] < LEAST_FRAMES:
            raise ValueError(f"I3D needs {LEAST_FRAMES} frames, not {clips_BTHWC.shape[1]}")
        frames = clips_BTHWC.float().flatten(0, 1).movedim(-1, 1)
        frames = functional.interpolate(frames, (SIZE_PX, SIZE_PX), mode="bilinear", align_corners=False)
        x = frames.unflatten(0, clips_BTHWC.shape[:2]).movedim(1, 2)
        x = max_pool_same(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name, module in self.mixed.items():
            if name in _POOLED_BEFORE:
                x = max_pool_same(x, *_POOLED_BEFORE[name])
            x = module(x)
        x = functional.avg_pool3d(x, (2, 7, 7), stride=1)
        return self.logits(x).mean((2, 3, 4))


class _Unit(nn.Module):
    """Convolution, batch normalisation without a scale, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = SameConv3d(inputs, outputs, kernel, stride)
        self.norm = nn.BatchNorm3d(outputs, eps=_EPSILON)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x_BCTHW)))


class _Mixed(nn.Module):
    """Four parallel branches, named as published."""

    def __init__(self, inputs: int, outputs: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        a, b, c, d, e, f = outputs
        self.branch_0 = nn.ModuleList([_Unit(inputs, a, 1)])
        self.branch_1 = nn.ModuleList([_Unit(inputs, b, 1), _Unit(b, c, 3)])
        self.branch_2 = nn.ModuleList([_Unit(inputs, d, 1), _Unit(d, e, 3)])
        self.branch_3 = nn.ModuleList([_Unit(inputs, f, 1)])

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        pooled = max_pool_same(x_BCTHW, (3, 3, 3), (1, 1, 1))
        branches = [self.branch_0, self.branch_1, self.branch_2, self.branch_3]
        outputs: list[Tensor] = []
        for branch, entry in zip(branches, (x_BCTHW, x_BCTHW, x_BCTHW, pooled), strict=True):
            x = entry
            for unit in branch:
                x = unit(x)
            outputs.append(x)
        return torch.cat(outputs, dim=1)
