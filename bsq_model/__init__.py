"""Pixels to bits and back: the BSQ-ViT tokenizer in pure torch; no storage, no cluster, no media files."""

if __name__ != "bitmill.bsq_model":
    # Under another name every class would exist twice, unequal to itself.
    raise ImportError("import bitmill.bsq_model: bsq_model is no package of its own")

from bitmill.bsq_model.presets import make_preset
from bitmill.bsq_model.saving import (
    fingerprint,
    load_tokenizer,
    round_weights,
    save_tokenizer,
    tokenizer_files,
    tokenizer_from_files,
)
from bitmill.bsq_model.tokenizer import BSQTokenizer

__all__ = [
    "BSQTokenizer",
    "fingerprint",
    "load_tokenizer",
    "make_preset",
    "round_weights",
    "save_tokenizer",
    "tokenizer_files",
    "tokenizer_from_files",
]
