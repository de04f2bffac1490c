"""Turns clips into samples: shapes, windows, packing, tensors."""
