"""Writes a tokenizer with FSQ as ``config.json`` and ``model.safetensors``, and reads it back strictly."""

from typing import Annotated

import torch
from pydantic import Field, TypeAdapter, ValidationError

from bitmill.bsq_model.fingerprint import float32_weights
from bitmill.bsq_model.fsq.networks import FSQConfig
from bitmill.bsq_model.fsq.tokenizer import FSQTokenizer
from bitmill.bsq_model.saving import CONFIG_FILE, files_of, load_weights
from bitmill.schemas.errors import FormatError
from bitmill.schemas.models.tokenizer_config import TOKENIZER_FORMAT_VERSION
from bitmill.schemas.versioned import versioned_json

_CONFIGS: TypeAdapter[FSQConfig] = TypeAdapter(Annotated[FSQConfig, Field(discriminator="architecture")])


def fsq_files(tokenizer: FSQTokenizer, *, dtype: torch.dtype = torch.float32) -> dict[str, bytes]:
    """Return the two files' bytes by name; arguments and errors as for ``saving.tokenizer_files``."""
    return files_of(tokenizer.config, float32_weights(tokenizer.network), dtype=dtype)


def fsq_from_files(config_bytes: bytes, weights_bytes: bytes) -> FSQTokenizer:
    """Return the tokenizer in float32 on CPU. Raises FormatError if the files are not exactly one."""
    raw = versioned_json(config_bytes, name=CONFIG_FILE, newest=TOKENIZER_FORMAT_VERSION)
    try:
        config = _CONFIGS.validate_python(raw)
    except ValidationError as error:
        raise FormatError(f"{CONFIG_FILE} is not a tokenizer config: {error}") from error
    with torch.device("meta"):
        tokenizer = FSQTokenizer(config)
    load_weights(tokenizer.network, weights_bytes)
    return tokenizer
