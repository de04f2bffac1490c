"""VidTok's causal FSQ tokenizers of video, versions 1.0 and 1.1 (arXiv 2412.13061)."""
