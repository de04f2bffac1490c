"""The sizes that are measured, and the ways to encode with them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.encoding.textbook import TextbookEncoder
from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.presets import untrained_tokenizer
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig, TransformerConfig

Encode = Callable[[Sequence[Tensor]], list[Tensor]]
"""Clips uint8 [T, H, W, 3] to latents."""

_SIZES = {
    "base": (256, TransformerConfig(width=768, layers=12, heads=12)),
    "base, two layers": (256, TransformerConfig(width=768, layers=2, heads=12)),
    "small": (128, TransformerConfig(width=256, layers=6, heads=4)),
}


def tokenizer_of(size: str, num_frames: int = 32) -> BSQTokenizer:
    """An untrained tokenizer; "small" has 256 tokens a frame, the others 1,024."""
    side_px, sizes = _SIZES[size]
    config = TokenizerConfig(
        image_size_px=side_px,
        patch_size_px=8,
        bits_per_token=18,
        num_frames=num_frames,
        encoder=sizes,
        decoder=sizes,
        decoder_ffn_width=3072,
    )
    return untrained_tokenizer(config, seed=0)


def make_way(name: str, tokenizer: BSQTokenizer) -> Encode:
    """ "ours" or "textbook", with the same weights."""
    if name == "ours":
        return tokenizer.latents
    textbook = TextbookEncoder(tokenizer).to(
        next(tokenizer.parameters()).device, next(tokenizer.parameters()).dtype
    )
    return torch.inference_mode()(textbook.forward)
