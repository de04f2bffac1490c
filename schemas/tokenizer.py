"""The tokenizer's config.json: geometry and sizes of a BSQ-ViT, and nothing about training."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

TOKENIZER_FORMAT_VERSION = 1

PositiveInt = Annotated[int, Field(gt=0)]


class TransformerConfig(BaseModel):
    """Sizes of one ViT (encoder or decoder)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: PositiveInt
    """Features a token."""
    layers: PositiveInt
    heads: PositiveInt
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "TransformerConfig":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        return self


class TokenizerConfig(BaseModel):
    """Everything needed to rebuild the tokenizer's modules before its weights are loaded.

    One frame of ``image_size_px``² pixels becomes ``(image_size_px / patch_size_px)²`` tokens of
    ``bits_per_token`` bits; there is no temporal patching (BSQ-ViT, arXiv 2406.07548, section 3).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = TOKENIZER_FORMAT_VERSION
    architecture: Literal["bsq-vit"] = "bsq-vit"
    image_size_px: PositiveInt
    """Side of the square frames that the positions were made for."""
    patch_size_px: PositiveInt = 8
    bits_per_token: Annotated[int, Field(ge=1, le=64)]
    """L: bits of one token's code."""
    num_frames: PositiveInt
    """Temporal positions: the longest clip, in frames; 1 for an image tokenizer."""
    encoder: TransformerConfig
    decoder: TransformerConfig
    decoder_ffn_width: PositiveInt = 3072
    """Width of the tanh layer before the decoder's pixels."""

    @model_validator(mode="after")
    def _patches_tile_the_frame(self) -> "TokenizerConfig":
        if self.image_size_px % self.patch_size_px:
            raise ValueError(
                f"image_size_px {self.image_size_px} is not divisible by patch_size_px {self.patch_size_px}"
            )
        return self

    @property
    def grid_size(self) -> int:
        """Tokens along one side of a frame (h = w)."""
        return self.image_size_px // self.patch_size_px

    @property
    def tokens_per_frame(self) -> int:
        """Tokens of one frame, h·w."""
        return self.grid_size**2
