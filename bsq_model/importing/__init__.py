"""The published checkpoints of BSQ-ViT, read without executing anything, and made into our two files."""
