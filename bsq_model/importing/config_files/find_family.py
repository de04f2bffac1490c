"""Recognises which family a published config file belongs to."""

from typing import Any

import yaml

from bitmill.bsq_model.importing.config_files.cosmos import cosmos_config
from bitmill.bsq_model.importing.config_files.described_model import DescribedModel
from bitmill.bsq_model.importing.config_files.emu3 import EMU3_MODEL_TYPES, emu3_config
from bitmill.bsq_model.importing.config_files.infinity import infinity_config
from bitmill.bsq_model.importing.config_files.vidtok import vidtok_config
from bitmill.schemas.errors import UsageError


def described_model(text: str, *, origin: str) -> DescribedModel | None:
    """Return what the published YAML or JSON of a family describes; None for other files.

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
    if document.get("model_type") in EMU3_MODEL_TYPES:
        return DescribedModel(config=emu3_config(document, origin=origin))
    return None
