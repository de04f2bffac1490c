"""LPIPS v0.1, the learned perceptual distance (arXiv 1801.03924), on AlexNet features.

Axes: B pictures, H and W pixels, C = 3 colours or a layer's channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
"""ImageNet's mean and deviation on [−1, 1], as the authors rounded them."""

_ALEXNET = (
    (3, 64, 11, 4, 2),
    (64, 192, 5, 1, 2),
    (192, 384, 3, 1, 1),
    (384, 256, 3, 1, 1),
    (256, 256, 3, 1, 1),
)
"""(inputs, outputs, kernel, stride, padding) of each layer."""
_POOLED_BEFORE = (1, 2)
_EPSILON = 1e-10


class LPIPS(nn.Module):
    """Distance of pictures, 0 for equal ones; frozen, differentiable in both pictures."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.ModuleList(
            nn.Conv2d(inputs, outputs, kernel, stride, padding)
            for inputs, outputs, kernel, stride, padding in _ALEXNET
        )
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(layer[1])) for layer in _ALEXNET)
        self.register_buffer("shift", torch.tensor(_SHIFT), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, a_BHWC: Tensor, b_BHWC: Tensor) -> Tensor:
        """Floats in [−1, 1], from 32² pixels, to float32 [B]."""
        distances: list[Tensor] = []
        for a, b, head in zip(self._features(a_BHWC), self._features(b_BHWC), self.heads, strict=True):
            difference_BCHW = _unit(a).sub(_unit(b)).square()
            weighted_BHW = torch.einsum("bchw,c->bhw", difference_BCHW, head.float())
            distances.append(weighted_BHW.mean((1, 2)))
        return torch.stack(distances).sum(0)

    def _features(self, x_BHWC: Tensor) -> list[Tensor]:
        x = ((x_BHWC.float() - self.shift) / self.scale).movedim(-1, 1)
        features: list[Tensor] = []
        for number, layer in enumerate(self.trunk):
            if number in _POOLED_BEFORE:
                x = functional.max_pool2d(x, 3, 2)
            x = functional.relu(layer(x))
            features.append(x.float())
        return features


def _unit(x_BCHW: Tensor) -> Tensor:
    # The root of zero has no gradient: where nothing fires, the small number stands under it.
    norm = (x_BCHW.square().sum(1, keepdim=True) + _EPSILON**2).sqrt()
    return x_BCHW / (norm + _EPSILON)
