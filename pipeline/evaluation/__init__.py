"""Reconstructions of held-out media measured, beside what image codecs make of the same bits."""
