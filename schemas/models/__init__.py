"""Configs of tokenizers and token models."""
