"""Training of the tokenizer: losses, training step, weight average and checkpoints; no media, no cluster."""
