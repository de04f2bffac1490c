"""Decodes still and animated images."""
