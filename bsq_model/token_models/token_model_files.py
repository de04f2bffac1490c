"""Writes a token model as ``config.json`` and ``model.safetensors`` and reads it back."""

import hashlib
import json
from pathlib import Path

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError

from bitmill.bsq_model.fingerprint import update_with_weights
from bitmill.bsq_model.saving import check_finite_weights, check_layout, widened, write_model_files
from bitmill.bsq_model.token_models.masked_lm import MaskedLM
from bitmill.bsq_model.token_models.prior import Prior
from bitmill.bsq_model.token_models.token_model import TokenModel
from bitmill.schemas.errors import FormatError
from bitmill.schemas.ids import canonical_json
from bitmill.schemas.models.bsq_vit_config import CONFIG_FILE, WEIGHTS_FILE
from bitmill.schemas.models.token_model_config import (
    TOKEN_MODEL_FORMAT_VERSION,
    PriorConfig,
    TokenModelConfig,
    token_model_config,
)
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.versioned import versioned_json


def make_token_model(config: TokenModelConfig, *, seed: int) -> TokenModel:
    """Return an untrained model in float32 on CPU; equal seeds give equal weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Prior(config) if isinstance(config, PriorConfig) else MaskedLM(config)


def token_model_fingerprint(model: TokenModel) -> str:
    """Return 32 hex digits (128 bits of SHA-256) over config and weights, like a tokenizer's fingerprint."""
    digest = hashlib.sha256(f"token-model\n{canonical_json(model.config.model_dump(mode='json'))}".encode())
    update_with_weights(digest, model.state_dict())
    return digest.hexdigest()[:32]


def token_model_files(model: TokenModel, *, dtype: torch.dtype = torch.float32) -> dict[str, bytes]:
    """Return the two files' bytes by name; ``dtype`` float16 rounds weights, which changes the model."""
    weights = {name: tensor.cpu().to(dtype).contiguous() for name, tensor in model.state_dict().items()}
    return {
        CONFIG_FILE: (json.dumps(model.config.model_dump(mode="json"), indent=2) + "\n").encode(),
        WEIGHTS_FILE: safetensors.torch.save(weights, metadata={"format": "pt"}),
    }


def save_token_model(model: TokenModel, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write both files, the config last. Raises OutputConflictError if another model is there."""
    write_model_files(token_model_files(model, dtype=dtype), folder, what="model")


def token_model_from_files(config_bytes: bytes, weights_bytes: bytes) -> TokenModel:
    """Return the model in float32 on CPU, in eval mode. Raises FormatError if the files are not a model."""
    model = make_token_model(_config_from_json(config_bytes), seed=0)
    try:
        weights = widened(safetensors.torch.load(weights_bytes))
    except SafetensorError as error:
        raise FormatError(f"{WEIGHTS_FILE} is damaged ({error}); copy it again from its source") from error
    check_layout(weights, model.state_dict())
    check_finite_weights(weights, WEIGHTS_FILE)
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def load_token_model(folder: Path) -> TokenModel:
    """Read what ``save_token_model`` wrote. Raises FormatError if it is missing or damaged."""
    try:
        files = [(folder / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE)]
    except OSError as error:
        raise FormatError(
            f"cannot read {error.filename} ({error.strerror}); a token model is a folder with "
            f"{CONFIG_FILE} and {WEIGHTS_FILE}"
        ) from error
    return token_model_from_files(*files)


def _config_from_json(config_bytes: bytes) -> TokenModelConfig:
    raw = versioned_json(config_bytes, name=CONFIG_FILE, newest=TOKEN_MODEL_FORMAT_VERSION)
    try:
        return token_model_config(raw)
    except ValidationError as error:
        told = describe_validation(error)
        raise FormatError(f"{CONFIG_FILE} is not a token model config: {told}") from error
