"""Inspection of a dataset: summary, provenance, preview."""
