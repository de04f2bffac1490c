"""The Inception-v3 on whose features FID is defined: the 2015 TensorFlow network, as pytorch-fid ported it.

No package contains its file; the user supplies it (``pt_inception-2015-12-05-6726825d.pth``). It differs from
later Inceptions in its pooling: averages exclude padding, and the last block uses max pooling. Axes: B
pictures.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitmill.bsq_model.importing.inert_pickle import SavedTensor
from bitmill.bsq_model.importing.torch_files import read_checkpoint
from bitmill.schemas.errors import FormatError

SIZE_PX = 299
_EPSILON = 1e-3
_UNUSED = ("AuxLogits.",)


def load_inception(path: Path) -> "FIDInception":
    """Load the network from the user's file without executing it. Raises FormatError if it does not fit."""
    saved: Any = read_checkpoint(path)
    if not isinstance(saved, dict):
        raise FormatError(f"{path} contains no state dict.")
    tensors = {
        name: tensor.load()
        for name, tensor in saved.items()
        if isinstance(tensor, SavedTensor) and not name.startswith(_UNUSED)
    }
    network = FIDInception()
    for name, tensor in network.state_dict().items():
        # Files written by old torch versions lack num_batches_tracked.
        if name.endswith("num_batches_tracked"):
            tensors.setdefault(name, tensor)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise FormatError(f"{path} is not the FID Inception: {error}") from error
    return network.requires_grad_(False).eval()


class FIDInception(nn.Module):
    """Maps pictures to 2,048 pooled features; frozen. Layers are named as in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Unit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = _Unit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = _Unit(80, 192, 3)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB()
        self.Mixed_6b = _BlockC(128)
        self.Mixed_6c = _BlockC(160)
        self.Mixed_6d = _BlockC(160)
        self.Mixed_6e = _BlockC(192)
        self.Mixed_7a = _BlockD()
        self.Mixed_7b = _BlockE(1280, by_maximum=False)
        self.Mixed_7c = _BlockE(2048, by_maximum=True)
        self.fc = nn.Linear(2048, 1008)
        self.requires_grad_(False).eval()

    def features(self, pixels_BHWC: Tensor) -> Tensor:
        """Map floats in [−1, 1] to [B, 2048]; resizes to 299², bilinear, not antialiased, as FID requires."""
        x = functional.interpolate(
            pixels_BHWC.float().movedim(-1, 1), (SIZE_PX, SIZE_PX), mode="bilinear", align_corners=False
        )
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = functional.max_pool2d(x, 3, 2)
        x = functional.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))

    def class_logits(self, features_BD: Tensor) -> Tensor:
        """Map ``features`` to [B, 1008], without the bias, as the Inception score's own code does."""
        return functional.linear(features_BD, self.fc.weight)


class _Unit(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class _BlockA(nn.Module):
    """Four branches at 35²."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Unit(inputs, 64, 1)
        self.branch5x5_1 = _Unit(inputs, 48, 1)
        self.branch5x5_2 = _Unit(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Unit(inputs, 64, 1)
        self.branch3x3dbl_2 = _Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, padding=1)
        self.branch_pool = _Unit(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch5x5_2(self.branch5x5_1(x)),
                self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                self.branch_pool(_average(x)),
            ],
            dim=1,
        )


class _BlockB(nn.Module):
    """Reduces 35² to 17²."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = _Unit(288, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Unit(288, 64, 1)
        self.branch3x3dbl_2 = _Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], dim=1)


class _BlockC(nn.Module):
    """7×7 filters at 17², factorized into rows and columns."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        row, column = (0, 3), (3, 0)
        self.branch1x1 = _Unit(768, 192, 1)
        self.branch7x7_1 = _Unit(768, hidden, 1)
        self.branch7x7_2 = _Unit(hidden, hidden, (1, 7), padding=row)
        self.branch7x7_3 = _Unit(hidden, 192, (7, 1), padding=column)
        self.branch7x7dbl_1 = _Unit(768, hidden, 1)
        self.branch7x7dbl_2 = _Unit(hidden, hidden, (7, 1), padding=column)
        self.branch7x7dbl_3 = _Unit(hidden, hidden, (1, 7), padding=row)
        self.branch7x7dbl_4 = _Unit(hidden, hidden, (7, 1), padding=column)
        self.branch7x7dbl_5 = _Unit(hidden, 192, (1, 7), padding=row)
        self.branch_pool = _Unit(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
                self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
                self.branch_pool(_average(x)),
            ],
            dim=1,
        )


class _BlockD(nn.Module):
    """Reduces 17² to 8²."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = _Unit(768, 192, 1)
        self.branch3x3_2 = _Unit(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Unit(768, 192, 1)
        self.branch7x7x3_2 = _Unit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = _Unit(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = _Unit(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        three = self.branch3x3_2(self.branch3x3_1(x))
        return torch.cat([three, self.branch7x7x3_4(seven), functional.max_pool2d(x, 3, 2)], dim=1)


class _BlockE(nn.Module):
    """Parallel row and column filters at 8²."""

    def __init__(self, inputs: int, *, by_maximum: bool) -> None:
        super().__init__()
        self.branch1x1 = _Unit(inputs, 320, 1)
        self.branch3x3_1 = _Unit(inputs, 384, 1)
        self.branch3x3_2a = _Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Unit(inputs, 448, 1)
        self.branch3x3dbl_2 = _Unit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Unit(inputs, 192, 1)
        self._by_maximum = by_maximum

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(three),
                self.branch3x3_2b(three),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(functional.max_pool2d(x, 3, 1, 1) if self._by_maximum else _average(x)),
            ],
            dim=1,
        )


def _average(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
