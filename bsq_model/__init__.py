"""Pixels to bits and back: the BSQ-ViT tokenizer in pure torch; no storage, no cluster, no media files."""
