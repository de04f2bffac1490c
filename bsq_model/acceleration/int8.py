"""Linear layers in 8-bit integers, opt-in for encoders: faster on integer units, but changes the bits.

Weights are rounded once to ``w ≈ s_e·q`` with a scale per output feature, activations at each call to
``x ≈ s_r·q`` with a scale per token; ``s = max|·|/127`` in both (symmetric, no calibration). Integer products
and sums are exact, so a token's result depends on no other token, on any device, in any batch.

Axes: R tokens, D input and E output features.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

_LARGEST = 127


class Int8Linear(nn.Module):
    """Replaces an ``nn.Linear`` with bias whose sizes are multiples of 8: [..., D] to [..., E]."""

    weight_ED: Tensor
    scale_E: Tensor
    bias_E: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        weight_ED = layer.weight.detach().float()
        scale_E1 = _scales(weight_ED)
        self.register_buffer("weight_ED", _rounded(weight_ED, scale_E1))
        self.register_buffer("scale_E", scale_E1[:, 0])
        self.register_buffer("bias_E", layer.bias.detach().float())

    def forward(self, x_xD: Tensor) -> Tensor:
        """Multiply and sum in int32, scale in float32."""
        x_RD = x_xD.reshape(-1, self.in_features)
        scale_R1 = _scales(x_RD.float())
        sums_RE = torch.ops.aten._int_mm(_rounded(x_RD.float(), scale_R1), self.weight_ED.t())
        y_RE = sums_RE.float().mul_(scale_R1).mul_(self.scale_E).add_(self.bias_E)
        return y_RE.to(x_xD.dtype).reshape(*x_xD.shape[:-1], self.out_features)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Int8Linear":
        """Move to another device like any module, but keep the dtypes."""
        scale_E, bias_E = self.scale_E, self.bias_E
        super()._apply(fn, recurse)
        self.scale_E, self.bias_E = (x.to(self.weight_ED.device) for x in (scale_E, bias_E))
        return self


def quantize_linear_layers(network: nn.Module) -> int:
    """Replace every plain ``nn.Linear`` in ``network`` that has a bias and sizes in multiples of 8.

    Returns the number of replaced layers.
    """
    replaced = 0
    for name, child in list(network.named_children()):
        if type(child) is nn.Linear and _fits(child):
            setattr(network, name, Int8Linear(child))
            replaced += 1
        else:
            replaced += quantize_linear_layers(child)
    return replaced


def _fits(layer: nn.Linear) -> bool:
    has_bias = "bias" in dict(layer.named_parameters())
    return has_bias and layer.in_features % 8 == 0 and layer.out_features % 8 == 0


def _scales(x_RD: Tensor) -> Tensor:
    """Return float32 [R, 1]; a row of zeros has scale 1, to avoid division by zero."""
    largest_R1 = x_RD.abs().amax(-1, keepdim=True)
    return torch.where(largest_R1 > 0, largest_R1 / _LARGEST, 1.0)


def _rounded(x_RD: Tensor, scale_R1: Tensor) -> Tensor:
    """Round to int8 in [−127, 127]; halves to even."""
    return (x_RD / scale_R1).round_().to(torch.int8)
