"""Small models over tokens with every parameter random, so that none can be ignored."""

import torch
from torch import Tensor

from bitmill.bsq_model.token_models.masked_lm import MaskedLM
from bitmill.bsq_model.token_models.prior import Prior
from bitmill.bsq_model.token_models.token_model import TokenModel
from bitmill.bsq_model.token_models.token_model_files import make_token_model
from bitmill.schemas.models.token_model_config import token_model_config

LABELS = ("cat", "dog")


def small_model(kind: str, **changes: object) -> TokenModel:
    document = {
        "kind": kind,
        "tokenizer_fingerprint": "t" * 32,
        "bits_per_token": 12,
        "group_bits": 4,
        "width": 64,
        "layers": 2,
        **changes,
    }
    model = make_token_model(token_model_config(document), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model.eval()


def small_prior(**changes: object) -> Prior:
    prior = small_model("prior", **changes)
    assert isinstance(prior, Prior)
    return prior


def small_masked_lm(**changes: object) -> MaskedLM:
    model = small_model("masked-lm", **{"labels": LABELS, **changes})
    assert isinstance(model, MaskedLM)
    return model


def random_bits(*grid: int, bits: int = 12, seed: int = 0) -> Tensor:
    """Bool [*grid, L]."""
    return torch.rand(*grid, bits, generator=torch.Generator().manual_seed(seed)) < 0.5


LEVELS = (8, 5, 3)
OF_DIGITS = {"levels": LEVELS, "group_bits": 1, "bits_per_token": 7}
"""Changes that make a model one of digits."""


def random_digits(*grid: int, seed: int = 0) -> Tensor:
    """Int64 [*grid, D]."""
    return torch.stack(
        [
            torch.randint(levels, grid, generator=torch.Generator().manual_seed(seed + place))
            for place, levels in enumerate(LEVELS)
        ],
        dim=-1,
    )
