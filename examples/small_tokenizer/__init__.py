"""The recipe of the bundled tokenizer."""
