"""Metrics of reconstructions and codes, by their published definitions; pure tensor functions."""
