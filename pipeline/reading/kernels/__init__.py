"""Compiled loops of the reader: unpacking, sample layout, bin packing."""
