"""Quantizers from latents to bits, and the entropy penalty."""
