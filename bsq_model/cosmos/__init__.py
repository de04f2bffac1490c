"""NVIDIA's Cosmos tokenizers of video (DV) with FSQ (arXiv 2501.03575)."""
