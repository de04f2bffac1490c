"""Named tokenizer configs (presets), and untrained tokenizers made from them."""

import torch

from bitmill.bsq_model.acceleration.huge_pages import empty_on_huge_pages
from bitmill.bsq_model.bsq_vit import BSQTokenizer
from bitmill.bsq_model.trainable.random_weights import initialize_weights
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig, TransformerConfig
from bitmill.schemas.nearest_name import did_you_mean

PRESETS: dict[str, TokenizerConfig] = {
    # The published size; 16 frames are the paper's video clips, and an image is a clip of one frame.
    "base": TokenizerConfig(
        image_size_px=256,
        bits_per_token=18,
        num_frames=16,
        encoder=TransformerConfig(width=768, layers=12, heads=12),
        decoder=TransformerConfig(width=768, layers=12, heads=12),
    ),
    # For tests and demonstrations: more than 100 frames per second on one CPU thread, in clips of 16.
    "tiny": TokenizerConfig(
        image_size_px=128,
        bits_per_token=18,
        num_frames=16,
        encoder=TransformerConfig(width=64, layers=2, heads=2),
        decoder=TransformerConfig(width=64, layers=2, heads=2),
        decoder_ffn_width=256,
    ),
}


def preset_config(name: str, *, bits_per_token: int | None = None) -> TokenizerConfig:
    """Return the preset's config, with its own 18 bits per token or the given number (1 to 64)."""
    if name not in PRESETS:
        near = did_you_mean(name, PRESETS)
        raise UsageError(
            f"unknown tokenizer preset {name!r}{near}; the presets are {', '.join(sorted(PRESETS))}"
        )
    config = PRESETS[name]
    if bits_per_token is None:
        return config
    if not 1 <= bits_per_token <= 64:
        raise UsageError(f"bits_per_token must be 1 to 64, not {bits_per_token}")
    return config.model_copy(update={"bits_per_token": bits_per_token})


def make_preset(name: str, *, bits_per_token: int | None = None, seed: int = 0) -> BSQTokenizer:
    """Return an untrained tokenizer; preset, bits and seed determine its weights on every machine."""
    return untrained_tokenizer(preset_config(name, bits_per_token=bits_per_token), seed=seed)


def untrained_tokenizer(config: TokenizerConfig, *, seed: int = 0) -> BSQTokenizer:
    """Return a tokenizer of any config with weights from a seed: float32 on CPU, in eval mode."""
    with torch.device("meta"):
        tokenizer = BSQTokenizer(config)
    # Does what ``to_empty`` does, which spends half a second importing a symbolic algebra package.
    weights = tokenizer.state_dict()
    memory = empty_on_huge_pages(weights.values())
    tokenizer.load_state_dict(dict(zip(weights, memory, strict=True)), assign=True)
    initialize_weights(tokenizer, seed)
    return tokenizer.eval()
