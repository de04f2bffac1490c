"""Makes causal-conv tokenizers: from their weights, strictly, or from a seed."""

import torch

from bitmill.bsq_model.causal_conv.tokenizer import CausalConvTokenizer
from bitmill.bsq_model.saving import load_weights
from bitmill.bsq_model.trainable.random_weights import initialize_weights
from bitmill.schemas.models.causal_conv_config import CausalConvConfig


def causal_conv_from_files(config: CausalConvConfig, weights_bytes: bytes) -> CausalConvTokenizer:
    """Return the tokenizer in float32 on CPU, in eval mode. Raises FormatError if the weights are not exactly
    its own."""
    with torch.device("meta"):
        tokenizer = CausalConvTokenizer(config)
    load_weights(tokenizer, weights_bytes)
    return tokenizer.eval()


def untrained_causal_conv(config: CausalConvConfig, *, seed: int = 0) -> CausalConvTokenizer:
    """Return a tokenizer with weights from a seed: float32 on CPU, in eval mode."""
    tokenizer = CausalConvTokenizer(config)
    initialize_weights(tokenizer, seed)
    return tokenizer.eval()
