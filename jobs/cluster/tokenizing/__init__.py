"""Tokenization on Ray: decoding tasks and tokenizer actors."""
