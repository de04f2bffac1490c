"""Numba-compiled functions and the on-disk cache of their machine code."""
