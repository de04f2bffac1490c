"""Open-MAGVIT2's tokenizers of images (arXiv 2409.04410)."""
