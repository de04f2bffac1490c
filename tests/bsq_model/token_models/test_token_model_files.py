"""A model over tokens and its two files."""

import json

import pytest
import torch

from bitmill.bsq_model.token_models.token_model_files import (
    load_token_model,
    save_token_model,
    token_model_files,
    token_model_fingerprint,
    token_model_from_files,
)
from bitmill.schemas.errors import FormatError, OutputConflictError
from tests.bsq_model.token_models.small import random_bits, small_model

KINDS = ["prior", "masked-lm"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_comes_back_and_has_its_fingerprint(kind, tmp_path) -> None:
    model = small_model(kind)
    save_token_model(model, tmp_path / "model")
    loaded = load_token_model(tmp_path / "model")
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert token_model_fingerprint(loaded) == token_model_fingerprint(model)
    bits = random_bits(1, 2, 2, 2)
    costs = [m.held_out_bits(bits, None, torch.Generator().manual_seed(0)) for m in (model, loaded)]
    assert torch.equal(*(cost.detach() for cost in costs))


def test_half_precision_halves_the_file_and_is_another_model(tmp_path) -> None:
    model = small_model("prior")
    save_token_model(model, tmp_path, dtype=torch.float16)
    full = token_model_files(model)["model.safetensors"]
    assert (tmp_path / "model.safetensors").stat().st_size < 0.6 * len(full)
    loaded = load_token_model(tmp_path)
    assert token_model_fingerprint(loaded) != token_model_fingerprint(model)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())


def test_another_model_is_not_overwritten(tmp_path) -> None:
    save_token_model(small_model("prior"), tmp_path)
    save_token_model(small_model("prior"), tmp_path)
    with pytest.raises(OutputConflictError, match="belongs to another model"):
        save_token_model(small_model("masked-lm"), tmp_path)


def _config(**changes: object) -> bytes:
    files = token_model_files(small_model("prior"))
    return json.dumps({**json.loads(files["config.json"]), **changes}).encode()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"{", "is not JSON"),
        (_config(format_version=2), "format_version 2, this release supports up to 1; upgrade"),
        (_config(kind="poet"), "not a token model config"),
        (_config(width=65), "width 65 is not a multiple of 32"),
        (_config(bits_per_token=13), "bits_per_token 13 is not a multiple of 4"),
        (_config(width=96), "does not fit config.json"),
    ],
)
def test_files_that_are_no_model_are_refused(config: bytes, said: str) -> None:
    weights = token_model_files(small_model("prior"))["model.safetensors"]
    with pytest.raises(FormatError, match=said):
        token_model_from_files(config, weights)


def test_damaged_weights_are_refused() -> None:
    files = token_model_files(small_model("prior"))
    with pytest.raises(FormatError, match="is damaged"):
        token_model_from_files(files["config.json"], files["model.safetensors"][:100])
    model = small_model("prior")
    with torch.no_grad():
        next(iter(model.parameters())).fill_(torch.nan)
    with pytest.raises(FormatError, match="not finite"):
        token_model_from_files(files["config.json"], token_model_files(model)["model.safetensors"])
