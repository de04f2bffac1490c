"""Infinity's tokenizers of images: residual BSQ over the scales of a pyramid (arXiv 2412.04431)."""
