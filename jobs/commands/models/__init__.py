"""Commands on models: train, evaluate, sample, compress, weights."""
