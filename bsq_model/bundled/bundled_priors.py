"""Trained priors that come with the package, each for a bundled tokenizer (see docs/prior.md)."""

from importlib import resources

from bitmill.bsq_model.saving import CONFIG_FILE, WEIGHTS_FILE

BUNDLED_PRIORS = ("small",)
"""Names: each the tokenizer's whose tokens it knows."""


def bundled_prior_files(name: str) -> tuple[bytes, bytes]:
    """The bytes of ``config.json`` and ``model.safetensors`` of a bundled one; KeyError for another name."""
    if name not in BUNDLED_PRIORS:
        raise KeyError(name)
    folder = resources.files("bitmill.bsq_model.bundled") / f"{name}-prior"
    return (folder / CONFIG_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes()
