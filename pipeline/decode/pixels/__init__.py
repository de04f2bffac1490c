"""Converts decoded planes to square RGB frames in exact integers, with the same bits on every CPU."""
