"""Converts the constructor's arguments of a Cosmos tokenizer to our config; admits no others."""

from typing import Any, Literal

from pydantic import ValidationError

from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.requests.validation_text import describe_validation
from bitmill.schemas.strict_model import StrictModel


class _Arguments(StrictModel):
    attn_resolutions: tuple[int, ...]
    channels: int
    channels_mult: tuple[int, ...]
    dropout: float = 0.0
    in_channels: Literal[3]
    out_channels: Literal[3]
    num_res_blocks: int
    resolution: int
    patch_size: Literal[4]
    patch_method: Literal["haar"]
    z_channels: int
    z_factor: Literal[1]
    quantizer: Literal["FSQ"]
    embedding_dim: int
    levels: tuple[int, ...]
    spatial_compression: Literal[8, 16]


class _VideoArguments(_Arguments):
    name: Literal["DV"]
    encoder: Literal["FACTORIZED"]
    decoder: Literal["FACTORIZED"]
    temporal_compression: Literal[4, 8]
    # More groups would look at later frames.
    num_groups: Literal[1]
    legacy_mode: Literal[False]


class _ImageArguments(_Arguments):
    name: Literal["DI"]
    encoder: Literal["Default"]
    decoder: Literal["Default"]
    num_quantizers: int = 4


def cosmos_config(document: dict[str, Any], *, origin: str) -> CosmosVideoConfig | CosmosImageConfig:
    """Return the config of published arguments. Raises UsageError naming an unsupported one."""
    try:
        arguments = (_ImageArguments if document.get("name") == "DI" else _VideoArguments)(**document)
        wrong = _unsupported(arguments)
        if wrong:
            raise UsageError(f"{origin} describes a model that cannot be imported: {wrong}.")
        return _config(arguments)
    except ValidationError as error:
        raise UsageError(
            f"{origin} has no arguments of a Cosmos DV or DI that can be imported: "
            f"{describe_validation(error)}"
        ) from error


def _config(arguments: _VideoArguments | _ImageArguments) -> CosmosVideoConfig | CosmosImageConfig:
    sizes: dict[str, Any] = {
        "channels": arguments.channels,
        "channel_multipliers": arguments.channels_mult,
        "num_res_blocks": arguments.num_res_blocks,
        "z_channels": arguments.z_channels,
        "levels": arguments.levels,
        "patch_px": arguments.spatial_compression,
    }
    if isinstance(arguments, _ImageArguments):
        return CosmosImageConfig(**sizes)
    return CosmosVideoConfig(
        **sizes,
        frames_per_token=arguments.temporal_compression,
        attention_levels=tuple(
            level for level, size in enumerate(_resolutions(arguments)) if size in arguments.attn_resolutions
        ),
    )


def _unsupported(arguments: _VideoArguments | _ImageArguments) -> str | None:
    if arguments.embedding_dim != len(arguments.levels):
        return f"embedding_dim is {arguments.embedding_dim}, but there are {len(arguments.levels)} levels"
    # Our network of images has no attention in its levels; the published code meets no other resolutions.
    if isinstance(arguments, _ImageArguments) and {*_resolutions(arguments)} & {*arguments.attn_resolutions}:
        return f"attn_resolutions {list(arguments.attn_resolutions)} asks for attention in its levels"
    return None


def _resolutions(arguments: _Arguments) -> list[int]:
    """Return the resolution that the published code takes each level to have: halved at each level."""
    return [
        (arguments.resolution // arguments.patch_size) >> level
        for level in range(len(arguments.channels_mult))
    ]
