"""Samples pictures and clips from token models, and measures their quality."""
