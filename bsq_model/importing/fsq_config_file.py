"""Recognises which family with FSQ a published config file belongs to."""

from typing import Any

import yaml

from bitmill.bsq_model.importing.cosmos_config_file import cosmos_config
from bitmill.bsq_model.importing.vidtok_config_file import vidtok_config
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.any_tokenizer_config import FSQConfig


def fsq_config_of(text: str, *, origin: str) -> FSQConfig | None:
    """Return the config of a VidTok's YAML or of a Cosmos' arguments in JSON; None for other files.

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
        return vidtok_config(document, origin=origin)
    if "spatial_compression" in document:
        return cosmos_config(document, origin=origin)
    return None
