"""The recipe of the bundled prior and of the masked language model in the docs."""
