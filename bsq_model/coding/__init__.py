"""Entropy coding of clips' bits with a model's probabilities; no files, no media."""
