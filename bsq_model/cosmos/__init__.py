"""NVIDIA's Cosmos tokenizers of video (DV) and of images (DI) with FSQ (arXiv 2501.03575)."""
