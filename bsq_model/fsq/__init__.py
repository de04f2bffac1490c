"""The tokenizer of all families whose quantizer is FSQ."""
