"""The tokenizer of all published families but BSQ-ViT: a network and a quantizer."""
