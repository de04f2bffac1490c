"""Tokenizers in pure torch: pixels to codes and back, without storage, cluster or media files."""

if __name__ != "bitmill.bsq_model":
    # Imported under a second name, every class would exist twice, and the two would not be equal.
    raise ImportError("import bitmill.bsq_model: bsq_model is no package of its own")

from bitmill.bsq_model.bsq_vit import BSQTokenizer
from bitmill.bsq_model.presets import make_preset
from bitmill.bsq_model.saving import (
    load_tokenizer,
    round_weights,
    save_tokenizer,
    tokenizer_files,
    tokenizer_from_files,
)

__all__ = [
    "BSQTokenizer",
    "load_tokenizer",
    "make_preset",
    "round_weights",
    "save_tokenizer",
    "tokenizer_files",
    "tokenizer_from_files",
]
