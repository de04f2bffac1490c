"""Recognises which family a published config file belongs to."""

from typing import Any

import yaml

from bitmill.bsq_model.importing.config_files.cosmos import cosmos_config
from bitmill.bsq_model.importing.config_files.described_model import DescribedModel
from bitmill.bsq_model.importing.config_files.infinity import infinity_config
from bitmill.bsq_model.importing.config_files.vidtok import vidtok_config
from bitmill.schemas.errors import UsageError


def described_model(text: str, *, origin: str) -> DescribedModel | None:
    """Return what a VidTok's YAML, or the arguments of a Cosmos or Infinity in JSON, describe; else None.

    Raises UsageError if it describes a model that cannot be imported.
    """
    try:
        document: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{origin} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        return None
    model = document.get("model")
    if isinstance(model, dict) and str(model.get("target")).startswith("vidtok."):
        return DescribedModel(config=vidtok_config(document, origin=origin))
    if "spatial_compression" in document:
        return DescribedModel(config=cosmos_config(document, origin=origin))
    if "vae_type" in document:
        return DescribedModel(config=infinity_config(document, origin=origin))
    return None
