"""EfficientNet-Lite0 (arXiv 1905.11946, the Lite variant: ReLU6, no squeeze-and-excitation), for features.

Axes: B pictures, H and W pixels, C = 3 colours or channels.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.networks.same_padding import SameConv2d

SIZE_PX = 224
_EPSILON = 1e-3


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    inputs: int
    outputs: int


_STAGES = (
    _Stage(1, 3, 1, 1, 32, 16),
    _Stage(2, 3, 2, 6, 16, 24),
    _Stage(2, 5, 2, 6, 24, 40),
    _Stage(3, 3, 2, 6, 40, 80),
    _Stage(3, 5, 1, 6, 80, 112),
    _Stage(4, 5, 2, 6, 112, 192),
    _Stage(1, 3, 1, 6, 192, 320),
)


class EfficientNetLite0(nn.Module):
    """Maps pictures to 1,280 pooled features, or ImageNet's 1,000 logits; frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Unit(3, 32, 3, stride=2)
        blocks: list[nn.Module] = []
        for stage in _STAGES:
            for number in range(stage.repeats):
                first = number == 0
                inputs, stride = (stage.inputs, stage.stride) if first else (stage.outputs, 1)
                blocks.append(_Block(inputs, stage.outputs, stage.kernel, stride, stage.expansion))
        self.blocks = nn.ModuleList(blocks)
        self.head = _Unit(320, 1280, 1)
        self.classifier = nn.Linear(1280, 1000)
        self.requires_grad_(False).eval()

    def features(self, pixels_BHWC: Tensor) -> Tensor:
        """Map floats in [−1, 1] to [B, 1280]; resizes to 224², bilinear, antialiased."""
        x = functional.interpolate(
            pixels_BHWC.float().movedim(-1, 1), (SIZE_PX, SIZE_PX), mode="bilinear", antialias=True
        )
        # The published normalisation is (level − 127)/128 on 0 to 255.
        x = self.stem((x * 127.5 + 0.5) / 128)
        for block in self.blocks:
            x = block(x)
        return self.head(x).mean((2, 3))

    def logits(self, pixels_BHWC: Tensor) -> Tensor:
        """Return ImageNet logits [B, 1000]."""
        return self.classifier(self.features(pixels_BHWC))


class _Unit(nn.Module):
    """Convolution, batch normalisation, and ReLU6 unless it ends a block."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        self.conv = SameConv2d(inputs, outputs, kernel, stride, groups)
        self.norm = nn.BatchNorm2d(outputs, eps=_EPSILON)
        self._active = active

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.norm(self.conv(x_BCHW))
        return functional.relu6(x_BCHW) if self._active else x_BCHW


class _Block(nn.Module):
    """An inverted residual: expand, depthwise convolution, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _Unit(inputs, hidden, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _Unit(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = _Unit(hidden, outputs, 1, active=False)
        self._skips = stride == 1 and inputs == outputs

    def forward(self, x_BCHW: Tensor) -> Tensor:
        made = self.project(self.depthwise(self.expand(x_BCHW)))
        return x_BCHW + made if self._skips else made
