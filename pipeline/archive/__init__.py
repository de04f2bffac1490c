"""Tars as sources of many items: their index, which sidecars go with which media, and their events."""
