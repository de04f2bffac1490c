"""LPIPS v0.1, the learned perceptual distance (arXiv 1801.03924), on features of AlexNet or VGG16.

Axes: B pictures, H and W pixels, C = 3 colours or a layer's channels.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
"""ImageNet's mean and deviation on [−1, 1], as the authors rounded them."""


class _Layer(NamedTuple):
    """One convolution of a trunk, followed by a ReLU."""

    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pool: tuple[int, int] | None = None
    """(window, stride) of max pooling before it."""
    tapped: bool = True
    """Whether its output is one of the five features."""


_TRUNKS = {
    "alexnet": (
        _Layer(3, 64, 11, 4, 2),
        _Layer(64, 192, 5, 1, 2, pool=(3, 2)),
        _Layer(192, 384, pool=(3, 2)),
        _Layer(384, 256),
        _Layer(256, 256),
    ),
    "vgg16": (
        _Layer(3, 64, tapped=False),
        _Layer(64, 64),
        _Layer(64, 128, pool=(2, 2), tapped=False),
        _Layer(128, 128),
        _Layer(128, 256, pool=(2, 2), tapped=False),
        _Layer(256, 256, tapped=False),
        _Layer(256, 256),
        _Layer(256, 512, pool=(2, 2), tapped=False),
        _Layer(512, 512, tapped=False),
        _Layer(512, 512),
        _Layer(512, 512, pool=(2, 2), tapped=False),
        _Layer(512, 512, tapped=False),
        _Layer(512, 512),
    ),
}
_EPSILON = 1e-10


class LPIPS(nn.Module):
    """Perceptual distance of two pictures, 0 for equal ones; frozen, differentiable in both pictures."""

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Literal["alexnet", "vgg16"] = "alexnet") -> None:
        super().__init__()
        self._layers = _TRUNKS[trunk]
        self.trunk = nn.ModuleList(
            nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding)
            for layer in self._layers
        )
        self.heads = nn.ParameterList(
            nn.Parameter(torch.zeros(layer.outputs)) for layer in self._layers if layer.tapped
        )
        self.register_buffer("shift", torch.tensor(_SHIFT), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, a_BHWC: Tensor, b_BHWC: Tensor) -> Tensor:
        """Map two pictures, floats in [−1, 1] of at least 32² pixels, to float32 [B]."""
        distances: list[Tensor] = []
        for a, b, head in zip(self._features(a_BHWC), self._features(b_BHWC), self.heads, strict=True):
            difference_BCHW = _unit(a).sub(_unit(b)).square()
            distances.append(torch.einsum("bchw,c->bhw", difference_BCHW, head.float()).mean((1, 2)))
        return torch.stack(distances).sum(0)

    def _features(self, x_BHWC: Tensor) -> list[Tensor]:
        x = ((x_BHWC.float() - self.shift) / self.scale).movedim(-1, 1)
        features: list[Tensor] = []
        for layer, convolution in zip(self._layers, self.trunk, strict=True):
            if layer.pool is not None:
                x = functional.max_pool2d(x, *layer.pool)
            x = functional.relu(convolution(x))
            if layer.tapped:
                features.append(x.float())
        return features


def _unit(x_BCHW: Tensor) -> Tensor:
    # sqrt has no finite gradient at zero: epsilon keeps it finite where no channel is active.
    return x_BCHW / ((x_BCHW.square().sum(1, keepdim=True) + _EPSILON**2).sqrt() + _EPSILON)
