"""Which samples make which batch: shuffling, mixtures, resume."""
