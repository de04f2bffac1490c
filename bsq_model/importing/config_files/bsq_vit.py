"""Converts a published model's YAML to our config; rejects keys that would change the computation."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.bsq_vit_config import TokenizerConfig, TransformerConfig
from bitmill.schemas.yaml_text import parse_yaml


class _Part(BaseModel):
    # The file also configures training, which is not imported.
    model_config = ConfigDict(frozen=True, extra="ignore")


class _ViT(_Part):
    image_size: int
    patch_size: int = 8
    width: int
    layers: int
    heads: int
    mlp_ratio: float = 4.0
    num_frames: int = 1
    cross_frames: bool = True
    ln_pre: bool = True
    ln_post: bool = True
    use_ffn_output: bool = True
    dim_ffn_output: int = 3072
    mask_type: Literal["none", "block-causal", "causal"] | None = "none"
    mask_block_size: int = -1


class _Params(_Part):
    embed_dim: int
    l2_norm: bool = False
    post_q_l2_norm: bool = False
    logit_laplace: bool = False
    vitconfig: _ViT
    dvitconfig: _ViT | None = None


class _Model(_Part):
    params: _Params


class _Data(_Part):
    zero_mean: bool = False


class _Published(_Part):
    model: _Model
    data: _Data = _Data()


def config_from_yaml(text: str, *, origin: str) -> TokenizerConfig:
    """Return the config that a published YAML describes. Raises UsageError naming an unsupported key."""
    try:
        published = _Published.model_validate(parse_yaml(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the document"
        raise UsageError(
            f"{origin} is not a model config of the published code: {key}: {first['msg']}"
        ) from error
    except ValueError as error:
        raise UsageError(f"{origin} is not valid YAML: {error}") from error
    params = published.model.params
    encoder, decoder = params.vitconfig, params.dvitconfig or params.vitconfig
    refused = [
        *_unlike("model.params", params, {"l2_norm": True, "post_q_l2_norm": True}),
        *_unlike("data", published.data, {"zero_mean": True}),
        *_refused_vit("model.params.vitconfig", encoder),
        *_refused_vit("model.params.dvitconfig", decoder),
        *_differing(encoder, decoder),
    ]
    if refused:
        raise UsageError(f"{origin} describes a model that cannot be imported: {'; '.join(refused)}.")
    return _config(params, encoder, decoder, origin)


def _config(params: _Params, encoder: _ViT, decoder: _ViT, origin: str) -> TokenizerConfig:
    is_full = encoder.num_frames > 1 and encoder.mask_type in ("none", None)
    try:
        return TokenizerConfig(
            image_size_px=encoder.image_size,
            patch_size_px=encoder.patch_size,
            bits_per_token=params.embed_dim,
            num_frames=encoder.num_frames,
            encoder=_sizes(encoder),
            decoder=_sizes(decoder),
            decoder_ffn_width=decoder.dim_ffn_output,
            attention="full" if is_full else "block-causal",
            output="logit-laplace" if params.logit_laplace else "pixels",
        )
    except ValidationError as error:
        raise UsageError(f"{origin}: {error.errors(include_url=False)[0]['msg']}") from error


def _sizes(vit: _ViT) -> TransformerConfig:
    return TransformerConfig(width=vit.width, layers=vit.layers, heads=vit.heads, mlp_ratio=vit.mlp_ratio)


def _refused_vit(path: str, vit: _ViT) -> list[str]:
    refused = _unlike(path, vit, {"ln_pre": True, "ln_post": True, "use_ffn_output": True})
    if vit.num_frames > 1:
        refused += _unlike(path, vit, {"cross_frames": True})
        if vit.mask_type == "causal":
            refused.append(f"{path}.mask_type is causal (token by token)")
        tokens = (vit.image_size // vit.patch_size) ** 2
        if vit.mask_type == "block-causal" and vit.mask_block_size not in (-1, tokens):
            refused.append(f"{path}.mask_block_size is {vit.mask_block_size}, not a frame of {tokens} tokens")
    return refused


def _differing(encoder: _ViT, decoder: _ViT) -> list[str]:
    """Return problems with settings that encoder and decoder must share."""
    return [
        f"{name} differs between vitconfig and dvitconfig"
        for name in ("image_size", "patch_size", "num_frames", "mask_type")
        if getattr(encoder, name) != getattr(decoder, name)
    ]


def _unlike(path: str, part: Any, wanted: dict[str, Any]) -> list[str]:
    return [
        f"{path}.{name} is {getattr(part, name)}, not {value}"
        for name, value in wanted.items()
        if getattr(part, name) != value
    ]
