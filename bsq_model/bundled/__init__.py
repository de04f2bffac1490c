"""Trained tokenizers in the package, each with its card (docs/small-1.md, docs/small.md).

Without torch, whose import would take most of the time in which a job starts.
"""

import json
from dataclasses import dataclass
from importlib import resources

import numpy as np
import safetensors.numpy

from bitmill.bsq_model.fingerprint import weights_fingerprint
from bitmill.schemas.models.any_tokenizer_config import TokenizerConfigOfAnyFamily, any_tokenizer_config
from bitmill.schemas.models.bsq_vit_config import CONFIG_FILE, WEIGHTS_FILE

DEFAULT_TOKENIZER = "small-1"
BUNDLED = (DEFAULT_TOKENIZER, "small")
"""Names."""


@dataclass(frozen=True, kw_only=True)
class BundledTokenizer:
    """A bundled tokenizer's two files in float32 by name, as saving the loaded one gives them."""

    files: dict[str, bytes]
    config: TokenizerConfigOfAnyFamily
    fingerprint: str


def bundled_files(name: str) -> tuple[bytes, bytes]:
    """Return a tokenizer's bytes of ``config.json`` and ``model.safetensors``; KeyError for other names."""
    if name not in BUNDLED:
        raise KeyError(name)
    folder = resources.files("bitmill.bsq_model.bundled") / name
    return (folder / CONFIG_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes()


def bundled_tokenizer(name: str) -> BundledTokenizer:
    """Return a tokenizer's files and fingerprint, without making it; KeyError for other names."""
    config_bytes, weights_bytes = bundled_files(name)
    config = any_tokenizer_config.validate_json(config_bytes)
    stored = safetensors.numpy.load(weights_bytes)
    weights = {tensor_name: array.astype(np.float32) for tensor_name, array in stored.items()}
    return BundledTokenizer(
        files={
            CONFIG_FILE: (json.dumps(config.model_dump(mode="json"), indent=2) + "\n").encode(),
            WEIGHTS_FILE: safetensors.numpy.save(weights, metadata={"format": "pt"}),
        },
        config=config,
        fingerprint=weights_fingerprint(config, weights),
    )
