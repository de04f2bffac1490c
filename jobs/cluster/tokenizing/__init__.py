"""Tokenization on Ray: tokenizer actors and their decoding tasks."""
