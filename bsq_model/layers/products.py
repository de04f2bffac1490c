"""Products of rows with a layer's weights, and the pieces in which passes over rows stay in the CPU's cache.

Axes: R rows, C input and E output channels; ``x`` any number of axes.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

_SCHEMA = (
    "mkldnn::_linear_pointwise(Tensor X, Tensor W, Tensor? B, str attr, Scalar?[] scalars, str? algorithm) "
    "-> Tensor Y"
)
_PIECE_BYTES = 1 << 20
"""About what one core's cache holds beside weights."""


def onednn_linear() -> Callable[..., Tensor] | None:
    """Return torch's operator for a product by oneDNN, which is private; None if it is not as known."""
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if operator is None or not torch.backends.mkldnn.is_available():
        return None
    return operator.default if str(operator.default._schema) == _SCHEMA else None


_ONEDNN_LINEAR = onednn_linear()


def product(x_xC: Tensor, weight_EC: Tensor, bias_E: Tensor | None = None) -> Tensor:
    """Return ``functional.linear``'s value.

    In float32 on CPU by oneDNN, as ``torch.compile`` has it: on AMD's processors at twice the rate of MKL,
    which ``functional.linear`` calls.
    """
    if _ONEDNN_LINEAR is not None and x_xC.device.type == "cpu" and x_xC.dtype == torch.float32:
        return _ONEDNN_LINEAR(x_xC, weight_EC, bias_E, "none", [], "")
    return functional.linear(x_xC, weight_EC, bias_E)


def pieces(length: int, like: Tensor, elements: int, *, at_least: int = 1) -> Iterator[slice]:
    """Yield slices of an axis, each of which has ``elements`` per index of the axis.

    On CPU a piece fits the cache, or has ``at_least`` indices; elsewhere the first is all.
    """
    step = max(length, 1)
    if like.device.type == "cpu":
        step = max(_PIECE_BYTES // (elements * like.element_size()), at_least, 1)
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))
