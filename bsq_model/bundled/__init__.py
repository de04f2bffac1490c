"""Trained tokenizers in the package, each a folder with its card (see docs/small.md)."""

from importlib import resources

from bitmill.bsq_model.saving import CONFIG_FILE, WEIGHTS_FILE

BUNDLED = ("small",)
"""Names, the default first."""


def bundled_files(name: str) -> tuple[bytes, bytes]:
    """Return a tokenizer's bytes of ``config.json`` and ``model.safetensors``; KeyError for other names."""
    if name not in BUNDLED:
        raise KeyError(name)
    folder = resources.files("bitmill.bsq_model.bundled") / name
    return (folder / CONFIG_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes()
