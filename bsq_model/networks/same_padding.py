"""TensorFlow's "SAME" padding, which the published weights of these networks were trained with."""

from torch import Tensor, nn
from torch.nn import functional


def pad_same(
    x: Tensor, kernel: int | tuple[int, ...], stride: int | tuple[int, ...], value: float = 0.0
) -> Tensor:
    """Pad the last dimensions so that the output has ⌈n/stride⌉ places; an odd remainder goes at the end."""
    dimensions = x.ndim - 2
    kernels = (kernel,) * dimensions if isinstance(kernel, int) else kernel
    strides = (stride,) * dimensions if isinstance(stride, int) else stride
    pads: list[int] = []
    for size, k, s in reversed(list(zip(x.shape[2:], kernels, strides, strict=True))):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads, value=value) if any(pads) else x


class SameConv2d(nn.Conv2d):
    """A convolution with SAME padding and no bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.Conv2d's name)
        """Map [B, C, H, W] to [B, C', ⌈H/stride⌉, ⌈W/stride⌉]."""
        return super().forward(pad_same(input, self.kernel_size, self.stride))


class SameConv3d(nn.Conv3d):
    """A 3D convolution with SAME padding over time, rows and columns."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, bias: bool = False
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (nn.Conv3d's name)
        """Map [B, C, T, H, W] to [B, C', ⌈T/stride⌉, ⌈H/stride⌉, ⌈W/stride⌉]."""
        return super().forward(pad_same(input, self.kernel_size, self.stride))


def max_pool_same(x_BCTHW: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Max-pool over time, rows and columns; padding is −∞."""
    return functional.max_pool3d(pad_same(x_BCTHW, kernel, stride, value=float("-inf")), kernel, stride)
