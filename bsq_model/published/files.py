"""Writes a published tokenizer as ``config.json`` and ``model.safetensors``, and reads it back strictly."""

import torch

from bitmill.bsq_model.fingerprint import float32_weights
from bitmill.bsq_model.published.networks import lay_out_weights
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.bsq_model.saving import files_of, load_weights
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig


def published_files(tokenizer: PublishedTokenizer, *, dtype: torch.dtype = torch.float32) -> dict[str, bytes]:
    """Return the two files' bytes by name; arguments and errors as for ``saving.tokenizer_files``."""
    return files_of(tokenizer.config, float32_weights(tokenizer.network), dtype=dtype)


def published_from_files(config: PublishedConfig, weights_bytes: bytes) -> PublishedTokenizer:
    """Return the tokenizer in float32 on CPU. Raises FormatError if the weights are not exactly its own."""
    with torch.device("meta"):
        tokenizer = PublishedTokenizer(config)
    load_weights(tokenizer.network, weights_bytes)
    lay_out_weights(tokenizer.network)
    return tokenizer
