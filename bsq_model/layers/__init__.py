"""Layers of the encoder and decoder: transformer, CNN, attention, conversion from and to pixels."""
