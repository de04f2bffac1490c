"""A look at a dataset: summary, provenance, preview."""
