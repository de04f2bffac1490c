"""Bits of clips to as few bytes as a model's probabilities allow, and back; no files, no media."""
