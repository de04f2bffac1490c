"""The configs of models: tokenizers and token models."""
