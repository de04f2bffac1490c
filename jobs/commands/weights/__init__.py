"""Commands for weights: import, fetch, resize."""
