"""Small tokenizers and clips for the tests; every parameter is random, so that none can be ignored."""

import torch
from torch import Tensor

from bitmill.bsq_model import BSQTokenizer
from bitmill.bsq_model.presets import untrained_tokenizer
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig, TransformerConfig

SMALL = TokenizerConfig(
    image_size_px=24,
    bits_per_token=18,
    num_frames=5,
    encoder=TransformerConfig(width=32, layers=2, heads=2),
    decoder=TransformerConfig(width=48, layers=3, heads=3, mlp_ratio=2.0),
    decoder_ffn_width=40,
)
IMAGE = SMALL.model_copy(update={"num_frames": 1, "bits_per_token": 36})
WIDER = TokenizerConfig(
    image_size_px=64,
    patch_size_px=4,
    bits_per_token=36,
    num_frames=4,
    encoder=TransformerConfig(width=96, layers=2, heads=3),
    decoder=TransformerConfig(width=64, layers=2, heads=2),
    decoder_ffn_width=64,
)


def random_tokenizer(config: TokenizerConfig = SMALL, seed: int = 0) -> BSQTokenizer:
    """Biases, positions and LayerNorms too are away from their starting values."""
    tokenizer = untrained_tokenizer(config, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in tokenizer.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return tokenizer


def random_clip(num_frames: int, config: TokenizerConfig = SMALL, seed: int = 0) -> Tensor:
    """uint8 [T, H, W, 3] of noise."""
    side = config.image_size_px
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_frames, side, side, 3), generator=generator, dtype=torch.uint8)
