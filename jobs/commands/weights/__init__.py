"""Commands on weights: import, fetch, resize."""
