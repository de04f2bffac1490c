"""Golden cases of published tokenizers; ``cases/README.md`` says what is in them."""

import json
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bitmill.bsq_model.importing.weight_names.infinity import infinity_names
from bitmill.bsq_model.published.tokenizer import PublishedTokenizer
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.infinity.schedules import published_schedules
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config
from bitmill.schemas.models.vidtok_config import VidTokConfig

_VIDTOK = {"channels": 8, "channel_multipliers": (1, 2, 2, 2), "num_res_blocks": 1}
_COSMOS = {"channels": 8, "num_res_blocks": 1, "patch_px": 8}

INFINITY = InfinityConfig(
    channels=24,
    channel_multipliers=(1,) * 5,
    num_res_blocks=1,
    bits_per_token=16,
    schedules=(*published_schedules(), "1x1 2x2 3x4 6x8", "1x1 2x2 3x3"),
)

CONFIGS: dict[str, PublishedConfig] = {
    "vidtok-v10": VidTokConfig(version="1.0", levels=(8,) * 4, **_VIDTOK),
    "vidtok-v11": VidTokConfig(version="1.1", levels=(8,) * 5, **_VIDTOK),
    "cosmos-dv4x8x8": CosmosVideoConfig(
        frames_per_token=4, channel_multipliers=(1, 2, 2), z_channels=6, levels=(8, 8, 5, 5), **_COSMOS
    ),
    "cosmos-dv8x8x8": CosmosVideoConfig(
        frames_per_token=8,
        channel_multipliers=(1, 2, 1),
        z_channels=7,
        levels=(8, 5, 5, 5),
        attention_levels=(1,),
        **_COSMOS,
    ),
    "cosmos-di8x8": CosmosImageConfig(
        channels=32,
        channel_multipliers=(1, 1, 1),
        num_res_blocks=1,
        z_channels=10,
        levels=(8, 8, 5, 5),
        patch_px=8,
    ),
    "emu3": Emu3Config(
        channels=32, channel_multipliers=(1, 1), num_res_blocks=1, attention_levels=(1,), codebook_size=512
    ),
    "open-magvit2": OpenMagvit2Config(
        channels=32, channel_multipliers=(1, 1), num_res_blocks=1, bits_per_token=18
    ),
}
"""Of the tokenizers with grids."""
FSQ = [name for name, config in CONFIGS.items() if config.geometry.code.kind == "digits"]
VIDEO = [name for name, config in CONFIGS.items() if config.geometry.max_frames != 1]


@cache
def case(name: str) -> dict[str, Tensor]:
    """Return a case's arrays."""
    with np.load(_path(name)) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays if arrays[key].dtype.kind != "U"}


def items(name: str, kind: str) -> list[str]:
    """Return the clips of a case that have ``kind``: ``indices``, ``decoded``."""
    with np.load(_path(name)) as arrays:
        return [key.removesuffix(f".{kind}") for key in arrays if key.endswith(f".{kind}") and key[0] != "f"]


@cache
def published_weights(name: str) -> dict[str, Tensor]:
    """Return all weights of a case, in float32, by their published names."""
    shapes, stored = names_and_shapes(name, "names"), case(name)["weights"]
    dtype = torch.float32 if len(stored) == 4 else torch.bfloat16
    parts = stored.T.contiguous().view(dtype).flatten().split([prod(shape) for _, shape in shapes])
    return {key: part.view(shape).float() for (key, shape), part in zip(shapes, parts, strict=True)}


def config_of(name: str) -> PublishedConfig:
    """Return a case's config."""
    return INFINITY if name == "infinity" else CONFIGS[name]


def names_and_shapes(name: str, layout: str) -> list[tuple[str, list[int]]]:
    """Return those of all weights of a case, in their order; ``layout`` is ``names``, or ``transformers``."""
    with np.load(_path(name)) as arrays:
        return json.loads(str(arrays[layout]))


@cache
def golden(name: str) -> PublishedTokenizer:
    """Return the case's tokenizer; of Cosmos, without the weights that nothing uses."""
    tokenizer, weights = PublishedTokenizer(config_of(name)), published_weights(name)
    if name == "infinity":
        own_names = infinity_names(weights, tokenizer.network.state_dict()).used
        weights = {own_names[key]: tensor for key, tensor in weights.items()}
    found = tokenizer.network.load_state_dict(weights, strict=False)
    assert not found.missing_keys
    assert all("sample.conv" in key for key in found.unexpected_keys)
    return tokenizer


def scales_of(item: str) -> list[tuple[int, int, int]]:
    """Return the grids t, h, w of an image of Infinity's case, the full one last."""
    return [(t, h, w) for t, h, w in case("infinity")[f"{item}.schedule"].tolist()]


def bits_of(item: str) -> Tensor:
    """Return the bits of an image of Infinity's case, bool [N, D]."""
    packed = case("infinity")[f"{item}.bits"].numpy()
    return torch.from_numpy(np.unpackbits(packed, axis=-1, bitorder="little").astype(bool))


def indices(codes_xD: Tensor, config: PublishedConfig) -> Tensor:
    """Return each code's index: dimension 0 is the least significant digit, or the most significant bit."""
    if isinstance(config, InfinityConfig):
        return (codes_xD * 2 ** torch.arange(config.bits_per_token).flip(0)).sum(-1)
    return (codes_xD * _weights(config)).sum(-1)


def codes_of(indices_x: Tensor, config: PublishedConfig) -> Tensor:
    """Return the codes of published indices: digits, bits, or the index itself."""
    code = config.geometry.code
    codes_xD = indices_x[..., None] // _weights(config) % torch.tensor(code.bases)
    return codes_xD.bool() if code.kind == "bits" else codes_xD


def _weights(config: PublishedConfig) -> Tensor:
    return torch.tensor([1, *config.geometry.code.bases[:-1]]).cumprod(0)


def _path(name: str) -> Path:
    return Path(__file__).parent / "cases" / f"{name}.npz"
