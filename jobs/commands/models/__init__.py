"""Commands that use models: train, evaluate, sample, compress, decompress."""
