"""Trained tokenizers that come with the package, each a folder with its card (see docs/small.md)."""

from importlib import resources

from bitmill.bsq_model.saving import CONFIG_FILE, WEIGHTS_FILE

BUNDLED = ("small",)
"""Names, the default first."""


def bundled_files(name: str) -> tuple[bytes, bytes]:
    """The bytes of ``config.json`` and ``model.safetensors`` of a bundled one; KeyError for another name."""
    if name not in BUNDLED:
        raise KeyError(name)
    folder = resources.files("bitmill.bsq_model.bundled") / name
    return (folder / CONFIG_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes()
