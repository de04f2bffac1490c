"""Trains a tokenizer on media: decodes batches during training, runs the loop, writes its files."""
