"""Measures reconstructions of held-out media, next to image codecs at the same bit rate."""
