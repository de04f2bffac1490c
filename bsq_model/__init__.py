"""Tokenizers in pure torch: pixels to codes and back, without storage, cluster or media files."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if __name__ != "bitmill.bsq_model":
    # Imported under a second name, every class would exist twice, and the two would not be equal.
    raise ImportError("import bitmill.bsq_model: bsq_model is no package of its own")

if TYPE_CHECKING:
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

_MODULES = {
    "presets": ("make_preset",),
    "saving": (
        "load_tokenizer",
        "round_weights",
        "save_tokenizer",
        "tokenizer_files",
        "tokenizer_from_files",
    ),
    "bsq_vit": ("BSQTokenizer",),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: a command starts the bundled tokenizer without importing torch."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
