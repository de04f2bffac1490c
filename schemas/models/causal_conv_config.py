"""The config.json of a causal-conv tokenizer: bitmill's own convolutional family for images and clips."""

from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.strict_model import StrictModel

Count = Annotated[int, Field(ge=1)]

CELL_PX = 4
"""Rows and columns of pixels that the wavelet joins at level 0."""

_MOST_VQ_BITS = 16
"""Limited because a learned codebook has 2^L rows."""


class LevelsConfig(StrictModel):
    """Sizes of an encoder or a decoder: per level, of which level 0 has a position per 4×4 pixels and each
    later one half the rows and columns of the one before; the last has one per token."""

    widths: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Channels of each level."""
    blocks: tuple[Annotated[int, Field(ge=0)], ...]
    """Residual blocks of each level."""

    @model_validator(mode="after")
    def _has_blocks_of_each_level(self) -> Self:
        if len(self.blocks) != len(self.widths):
            raise ValueError(
                f"blocks {self.blocks} and widths {self.widths} differ in their number of levels"
            )
        return self


class CausalConvConfig(StrictModel):
    """Everything needed to build the tokenizer's modules before loading its weights.

    It takes frames of every multiple of ``patch_px`` and clips of every legal length: an image is a clip of
    one frame.
    """

    format_version: Literal[1] = 1
    architecture: Literal["causal-conv"] = "causal-conv"
    patch_px: Literal[4, 8, 16, 32] = 8
    """Rows and columns of pixels of a token."""
    frames_per_token: Literal[1, 2, 4, 8] = 4
    """Frames of a row of tokens; above 1, a clip's first frame makes a row by itself."""
    quantizer: Literal["bsq", "lfq", "vq", "fsq"] = "bsq"
    """As for BSQ-ViT; fsq: rounded digits (arXiv 2309.15505)."""
    bits_per_token: Annotated[int, Field(ge=1, le=64)] | None = None
    """L; not for fsq."""
    levels: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] | None = None
    """For fsq alone: values of each dimension of a code."""
    encoder: LevelsConfig
    decoder: LevelsConfig
    frame_width: Count = 64
    """Channels per frame of the decoder's last block, which sees single frames and those before."""
    usual_side_px: Count | None = None
    """Side of the squares of a job that names no size, such as those of the training; None: it has to."""
    time: Literal["causal", "both"] = "causal"
    """both: blocks also see the next row, so that no token is final before the last frame; for comparison."""

    @model_validator(mode="after")
    def _code_is_whole(self) -> Self:
        is_fsq = self.quantizer == "fsq"
        if (self.levels is not None) != is_fsq or (self.bits_per_token is None) != is_fsq:
            raise ValueError(
                f"quantizer {self.quantizer} needs {'levels' if is_fsq else 'bits_per_token'} alone"
            )
        if is_fsq and prod(self.levels or ()) > 1 << 63:
            raise ValueError("levels have more than 2^63 codes")
        if self.quantizer == "vq" and (self.bits_per_token or 0) > _MOST_VQ_BITS:
            raise ValueError(f"quantizer vq takes at most {_MOST_VQ_BITS} bits_per_token")
        return self

    @model_validator(mode="after")
    def _levels_make_the_patch(self) -> Self:
        needed = (self.patch_px // CELL_PX).bit_length()
        for name, sizes in (("encoder", self.encoder), ("decoder", self.decoder)):
            if len(sizes.widths) != needed:
                raise ValueError(f"patch_px {self.patch_px} needs {needed} levels of the {name}")
        return self

    @model_serializer(mode="wrap")
    def _without_nulls(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = handler(self)
        return {name: value for name, value in document.items() if value is not None}

    @property
    def code(self) -> Code:
        """What one token is."""
        if self.levels is not None:
            return Code.of_digits(self.levels)
        assert self.bits_per_token is not None
        return Code.of_bits(self.bits_per_token)

    @property
    def geometry(self) -> Geometry:
        """The clips that the tokenizer takes and the tokens that they become."""
        return Geometry(
            patch_px=(self.patch_px, self.patch_px),
            frames_per_token=self.frames_per_token,
            lead_frames=1 if self.frames_per_token > 1 else 0,
            usual_side_px=self.usual_side_px,
            code=self.code,
            promises=("causal", "prefix", "streams") if self.time == "causal" else (),
        )
