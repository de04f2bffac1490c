"""Trained priors in the package, each for a bundled tokenizer (see docs/prior.md)."""

from importlib import resources

from bitmill.schemas.models.bsq_vit_config import CONFIG_FILE, WEIGHTS_FILE

BUNDLED_PRIORS = ("small-1", "small")
"""Names; each is that of the tokenizer whose tokens the prior models."""


def bundled_prior_files(name: str) -> tuple[bytes, bytes]:
    """Return the bytes of a prior's ``config.json`` and ``model.safetensors``; KeyError for other names."""
    if name not in BUNDLED_PRIORS:
        raise KeyError(name)
    folder = resources.files("bitmill.bsq_model.bundled") / f"{name}-prior"
    return (folder / CONFIG_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes()
