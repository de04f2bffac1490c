"""Emu3's tokenizer of video and images (arXiv 2409.18869)."""
