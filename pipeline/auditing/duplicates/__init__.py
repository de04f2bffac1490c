"""Clips that are alike: the same codes, or nearly so, within a dataset and with others."""
