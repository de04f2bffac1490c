"""Decodes a fixed sample of clips, compares it with the sources, and tokenizes it again."""
