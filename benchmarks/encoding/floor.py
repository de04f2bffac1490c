"""The least that a pass can take: its multiplications and additions at the machine's own matrix rate.

Axes: M rows, K inner, N columns.
"""

from typing import Any

import torch

from benchmarks.repeated import ratio
from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.layers.vit import Block
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig


def encoder_operations(config: TokenizerConfig, num_frames: int) -> int:
    """Multiplications and additions of the encoder's matrix products over a clip, attention over prefixes."""
    sizes, tokens = config.encoder, config.tokens_per_frame
    width, hidden = sizes.width, int(sizes.width * sizes.mlp_ratio)
    per_token = 2 * (4 * width * width + 2 * width * hidden)
    keys = tokens * num_frames * (num_frames + 1) // 2
    attention = 2 * 2 * tokens * keys * width
    ends = 2 * tokens * num_frames * width * (3 * config.patch_size_px**2 + config.bits_per_token)
    return sizes.layers * (per_token * tokens * num_frames + attention) + ends


class MatrixProducts:
    """The largest layer's product into memory that is there, [M, K] × [K, N], several times: a way to be
    measured in the same rounds as what is held against it. int8 sums to int32."""

    _TIMES = 10
    """At base size as many operations as in nearly three layers."""

    def __init__(
        self, config: TokenizerConfig, device: torch.device, dtype: torch.dtype, *, rows: int
    ) -> None:
        width, hidden = config.encoder.width, int(config.encoder.width * config.encoder.mlp_ratio)
        generator = torch.Generator().manual_seed(0)
        is_int8 = dtype == torch.int8
        self._a, self._b = (
            (torch.randn(size, width, generator=generator) * (40 if is_int8 else 1)).to(device, dtype)
            for size in (rows, hidden)
        )
        out_dtype = torch.int32 if is_int8 else dtype
        self._out = torch.empty(rows, hidden, device=device, dtype=out_dtype)
        self._into: Any = torch.ops.aten._int_mm.out if is_int8 else torch.mm
        self.operations = self._TIMES * 2 * rows * width * hidden

    def __call__(self) -> torch.Tensor:
        for _ in range(self._TIMES):
            self._into(self._a, self._b.t(), out=self._out)
        return self._out

    def rate(self, seconds: dict[str, Any]) -> float:
        """Operations a second."""
        return self.operations / seconds["median"]

    def share(self, operations: int, seconds: dict[str, Any], products: dict[str, Any]) -> float:
        """What part of the products' rate something of so many ``operations`` reaches, of the same rounds."""
        return operations / self.operations * ratio(products, seconds)


class EncoderProducts:
    """On CPU, every matrix product of the encoder's layers over a batch of images, and nothing between them.

    Each layer's by its own weights, then scores and weighted values, head by head: an encoder that is made of
    these products is never quicker.
    """

    def __init__(self, tokenizer: BSQTokenizer, dtype: torch.dtype, *, batch: int) -> None:
        sizes, tokens = tokenizer.config.encoder, tokenizer.config.tokens_per_frame
        blocks = [module for module in tokenizer.encoder.modules() if isinstance(module, Block)]
        self._weights = [
            one.weight for block in blocks for one in block.modules() if isinstance(one, torch.nn.Linear)
        ]
        self._layers = sizes.layers
        rows, widths = batch * tokens, {size for weight in self._weights for size in weight.shape}

        def noise(*shape: int) -> torch.Tensor:
            return torch.randn(shape, dtype=dtype)

        self._inputs = {width: noise(rows, width) for width in widths}
        self._outputs = {width: noise(rows, width) for width in widths}
        self._qkv = noise(3, batch * sizes.heads, tokens, sizes.width // sizes.heads)
        self._scores = noise(tokens, tokens)
        self._attended = noise(*self._qkv.shape[1:])

    @torch.inference_mode()
    def __call__(self) -> torch.Tensor:
        for weight in self._weights:
            out, width = weight.shape
            torch.mm(self._inputs[width], weight.t(), out=self._outputs[out])
        for _ in range(self._layers):
            for query, key, value, attended in zip(*self._qkv, self._attended, strict=True):
                torch.mm(query, key.t(), out=self._scores)
                torch.mm(self._scores, value, out=attended)
        return self._attended
