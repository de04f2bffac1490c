"""The least that a pass can take: its multiplications and additions at the machine's own matrix rate.

Axes: M rows, K inner, N columns.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from schemas.tokenizer import TokenizerConfig


def encoder_operations(config: TokenizerConfig, num_frames: int) -> int:
    """Multiplications and additions of the encoder's matrix products over a clip, attention over prefixes."""
    sizes, tokens = config.encoder, config.tokens_per_frame
    width, hidden = sizes.width, int(sizes.width * sizes.mlp_ratio)
    per_token = 2 * (4 * width * width + 2 * width * hidden)
    keys = tokens * num_frames * (num_frames + 1) // 2
    attention = 2 * 2 * tokens * keys * width
    ends = 2 * tokens * num_frames * width * (3 * config.patch_size_px**2 + config.bits_per_token)
    return sizes.layers * (per_token * tokens * num_frames + attention) + ends


def matrix_product(
    config: TokenizerConfig, device: torch.device, dtype: torch.dtype, *, rows: int
) -> tuple[Callable[[], Tensor], int]:
    """The largest layer's product into memory that is there, [M, K] × [K, N], and its operations."""
    width, hidden = config.encoder.width, int(config.encoder.width * config.encoder.mlp_ratio)
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(rows, width, generator=generator).to(device, dtype)
    b = torch.randn(hidden, width, generator=generator).to(device, dtype)
    out = torch.empty(rows, hidden, device=device, dtype=dtype)
    return (lambda: torch.mm(a, b.t(), out=out)), 2 * rows * width * hidden
