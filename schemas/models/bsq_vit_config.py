"""The tokenizer's config.json: geometry and sizes of a BSQ-ViT or a variant, without training settings."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.strict_model import StrictModel

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

TOKENIZER_FORMAT_VERSION = 2
"""2 added ``positions``; a config without it stays 1, for those who read it with an older bitmill."""

PositiveInt = Annotated[int, Field(gt=0)]


_VARIANT_FIELDS = ("quantizer", "backbone", "attention", "output", "positions")

_MOST_VQ_BITS = 16
"""Limited because a learned codebook has 2^L rows."""


class TransformerConfig(StrictModel):
    """Sizes of one network (encoder or decoder): a ViT's, or a CNN's with one head."""

    width: PositiveInt
    """Features per token; for a CNN: channels at full resolution, doubled at each halving."""
    layers: PositiveInt
    """Transformer blocks; for a CNN: residual blocks per resolution."""
    heads: PositiveInt
    mlp_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0

    @model_validator(mode="after")
    def _heads_and_features_fit(self) -> "TransformerConfig":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        if self.width * self.mlp_ratio < 1:
            raise ValueError(f"mlp_ratio {self.mlp_ratio} of width {self.width} leaves the MLP no features")
        return self


class TokenizerConfig(StrictModel):
    """Everything needed to build the tokenizer's modules before loading its weights.

    One frame of ``image_size_px``² pixels becomes ``(image_size_px / patch_size_px)²`` tokens of
    ``bits_per_token`` bits; there is no temporal patching (BSQ-ViT, arXiv 2406.07548, section 3).
    """

    format_version: Literal[1, 2] = 1
    """2 exactly if ``positions`` is not fixed."""
    architecture: Literal["bsq-vit"] = "bsq-vit"
    image_size_px: PositiveInt
    """Side of the square frames that the positions were made for."""
    patch_size_px: PositiveInt = 8
    bits_per_token: Annotated[int, Field(ge=1, le=64)]
    """L: bits per token."""
    num_frames: PositiveInt
    """Temporal positions, i.e. the longest clip in frames; 1 for an image tokenizer."""
    encoder: TransformerConfig
    decoder: TransformerConfig
    decoder_ffn_width: PositiveInt = 3072
    """Width of the tanh layer before the decoder's pixels; unused for a CNN."""
    quantizer: Literal["bsq", "lfq", "vq"] = "bsq"
    """bsq: signs on the unit sphere; lfq: signs, no sphere; vq: a learned codebook, at most 16 bits."""
    backbone: Literal["vit", "cnn"] = "vit"
    """cnn: convolutions over each frame separately."""
    attention: Literal["block-causal", "full"] = "block-causal"
    """full: every frame attends to all frames of its clip, so no token is final before the last frame."""
    output: Literal["pixels", "logit-laplace"] = "pixels"
    """logit-laplace: the decoder outputs a distribution of each value; inference takes its mean."""
    positions: Literal["fixed", "interpolate"] = "fixed"
    """interpolate: frames of every multiple of ``patch_size_px``, with spatial positions interpolated from
    those of ``image_size_px``: bicubic between cell centres, antialiased, in float32."""

    @model_validator(mode="before")
    @classmethod
    def _with_version(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("positions", "fixed") != "fixed":
            return {"format_version": 2} | data
        return data

    @model_validator(mode="after")
    def _version_is_that_of_positions(self) -> "TokenizerConfig":
        if (self.format_version == 2) != (self.positions != "fixed"):
            raise ValueError(
                f"positions {self.positions} has another format_version than {self.format_version}"
            )
        return self

    @model_validator(mode="after")
    def _patches_tile_the_frame(self) -> "TokenizerConfig":
        if self.image_size_px % self.patch_size_px:
            raise ValueError(
                f"image_size_px {self.image_size_px} is not divisible by patch_size_px {self.patch_size_px}"
            )
        return self

    @model_validator(mode="after")
    def _variant_is_whole(self) -> "TokenizerConfig":
        if self.quantizer == "vq" and self.bits_per_token > _MOST_VQ_BITS:
            raise ValueError(
                f"quantizer vq takes at most {_MOST_VQ_BITS} bits_per_token, not {self.bits_per_token}: its "
                "codebook has 2^bits_per_token rows"
            )
        if self.backbone == "cnn":
            self._check_cnn()
        return self

    def _check_cnn(self) -> None:
        if self.patch_size_px & (self.patch_size_px - 1):
            raise ValueError(f"backbone cnn needs a power of two as patch_size_px, not {self.patch_size_px}")
        if self.attention != "block-causal" or self.encoder.heads != 1 or self.decoder.heads != 1:
            raise ValueError("backbone cnn has no attention: remove attention and set heads to 1")

    @model_serializer(mode="wrap")
    def _without_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit variant fields at their default, so that files and fingerprints match older releases."""
        document: dict[str, Any] = handler(self)
        for name in _VARIANT_FIELDS:
            if document.get(name) == type(self).model_fields[name].default:
                del document[name]
        return document

    @property
    def geometry(self) -> Geometry:
        """The clips that the tokenizer takes and the tokens that they become."""
        is_causal = self.attention == "block-causal"
        own_size = (self.image_size_px, self.image_size_px)
        return Geometry(
            patch_px=(self.patch_size_px, self.patch_size_px),
            max_frames=self.num_frames,
            size_px=own_size if self.positions == "fixed" else None,
            code=Code.of_bits(self.bits_per_token),
            promises=("causal", "prefix", "streams") if is_causal else (),
        )

    @property
    def grid_size(self) -> int:
        """Tokens along one side of a frame of ``image_size_px`` (h = w)."""
        return self.image_size_px // self.patch_size_px

    @property
    def tokens_per_frame(self) -> int:
        """Tokens of one frame of ``image_size_px``, h·w."""
        return self.grid_size**2
