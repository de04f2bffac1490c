"""Imports published BSQ-ViT checkpoints without executing anything in them."""
