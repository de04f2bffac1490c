"""Converts the config.json of an Emu3 tokenizer, of either layout, to our config; admits no other keys.

Keys that a file lacks have the published code's defaults: transformers writes those that differ.
"""

from typing import Any, Literal

from pydantic import ValidationError

from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.requests.spec_files import describe_validation
from bitmill.schemas.strict_model import StrictModel

_BY_ITSELF, _IN_TRANSFORMERS, _WITHIN_A_MODEL = "Emu3VisionVQ", "emu3_vqgan", "emu3"
EMU3_MODEL_TYPES = (_BY_ITSELF, _IN_TRANSFORMERS, _WITHIN_A_MODEL)


class _Keys(StrictModel):
    model_type: Any = None
    codebook_size: int = 32768
    embed_dim: int = 4
    in_channels: Literal[3] = 3
    out_channels: Literal[3] = 3
    temporal_downsample_factor: Literal[4] = 4
    num_res_blocks: int = 2
    # They are numbers of levels, whatever the name says.
    attn_resolutions: tuple[int, ...] = (3,)
    architectures: Any = None
    auto_map: Any = None
    dtype: Any = None
    torch_dtype: Any = None
    transformers_version: Any = None


class _ByItself(_Keys):
    z_channels: int = 4
    double_z: Literal[False] = False
    ch: int = 256
    ch_mult: tuple[int, ...] = (1, 2, 2, 4)
    dropout: float = 0.0


class _InTransformers(_Keys):
    latent_channels: int = 4
    double_latent: Literal[False] = False
    base_channels: int = 256
    channel_multiplier: tuple[int, ...] = (1, 2, 2, 4)
    hidden_size: Any = None  # Of the attention, whose channels the multipliers give.
    num_attention_heads: Literal[1] = 1
    attention_dropout: float = 0.0


def emu3_config(document: dict[str, Any], *, origin: str) -> Emu3Config:
    """Return the config that a config.json describes. Raises UsageError naming an unsupported key."""
    try:
        return _config(_keys(document, origin), origin)
    except ValidationError as error:
        raise UsageError(
            f"{origin} is no config of Emu3's vision tokenizer that can be imported: "
            f"{describe_validation(error)}"
        ) from error


def _keys(document: dict[str, Any], origin: str) -> _ByItself | _InTransformers:
    if document["model_type"] == _BY_ITSELF:
        return _ByItself(**document)
    if document["model_type"] == _IN_TRANSFORMERS:
        return _InTransformers(**document)
    part = document.get("vq_config")
    if not isinstance(part, dict):
        raise UsageError(f"{origin} describes a model without a vision tokenizer: it has no vq_config.")
    return _InTransformers(**part)


def _config(keys: _ByItself | _InTransformers, origin: str) -> Emu3Config:
    if isinstance(keys, _ByItself):
        latents, channels, multipliers = keys.z_channels, keys.ch, keys.ch_mult
    else:
        latents, channels, multipliers = keys.latent_channels, keys.base_channels, keys.channel_multiplier
    if latents != keys.embed_dim:
        # Both pass through the same layers in the decoder.
        raise UsageError(
            f"{origin} describes a model that cannot be imported: its latents have {latents} channels, "
            f"but embed_dim is {keys.embed_dim}."
        )
    return Emu3Config(
        channels=channels,
        channel_multipliers=multipliers,
        num_res_blocks=keys.num_res_blocks,
        attention_levels=keys.attn_resolutions,
        frames_per_token=keys.temporal_downsample_factor,
        latent_channels=latents,
        codebook_size=keys.codebook_size,
    )
