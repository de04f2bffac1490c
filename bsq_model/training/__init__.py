"""Training of the tokenizer: losses, the step, averages and checkpoints; it knows no media and no cluster."""
