"""Compiled functions: numba's door, and the store of compiled code."""
