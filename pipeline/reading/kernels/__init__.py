"""Compiled loops of the reader: unpacking, placement, packing of bins."""
