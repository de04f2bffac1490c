"""Recognises which family a published config file belongs to."""

from typing import Any

from bitmill.bsq_model.importing.config_files.cosmos import cosmos_config
from bitmill.bsq_model.importing.config_files.described_model import DescribedModel
from bitmill.bsq_model.importing.config_files.emu3 import EMU3_MODEL_TYPES, emu3_config
from bitmill.bsq_model.importing.config_files.infinity import infinity_config
from bitmill.bsq_model.importing.config_files.open_magvit2 import is_open_magvit2, open_magvit2_model
from bitmill.bsq_model.importing.config_files.vidtok import vidtok_config
from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig
from bitmill.schemas.yaml_text import parse_yaml


def described_model(text: str, *, origin: str) -> DescribedModel | None:
    """Return what the published YAML or JSON of a family describes; None for other files.

    Raises UsageError if it describes a model that cannot be imported.
    """
    try:
        document: Any = parse_yaml(text)
    except ValueError as error:
        raise UsageError(f"{origin} is not valid YAML: {error}") from error
    if not isinstance(document, dict):
        return None
    model = document.get("model")
    if isinstance(model, dict) and is_open_magvit2(str(model.get("class_path"))):
        return open_magvit2_model(model, origin=origin)
    config = _config(document, model, origin)
    return None if config is None else DescribedModel(config=config)


def _config(document: dict[str, Any], model: Any, origin: str) -> PublishedConfig | None:
    if isinstance(model, dict) and str(model.get("target")).startswith("vidtok."):
        return vidtok_config(document, origin=origin)
    if "spatial_compression" in document:
        return cosmos_config(document, origin=origin)
    if "vae_type" in document:
        return infinity_config(document, origin=origin)
    if document.get("model_type") in EMU3_MODEL_TYPES:
        return emu3_config(document, origin=origin)
    return None
