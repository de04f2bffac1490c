"""Selects the frames of each clip."""
