"""The config.json of a Cosmos tokenizer, DV or DI: the sizes of its network (arXiv 2501.03575)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.strict_model import StrictModel

Count = Annotated[int, Field(ge=1)]

_WAVELET = 4
"""Frames, rows and columns of a patch, which the wavelet makes."""

MAX_TOKEN_ROWS = 32
"""Of a clip of DV. Its attention in time reads the keys and values of all earlier rows, which are kept: at
480×864 and 8×8 pixels a token, 27 MB a row in float32. NVIDIA's own clips have at most 121 frames."""


class CosmosVideoConfig(StrictModel):
    """Everything needed to build a Cosmos DV before loading its weights.

    The defaults are those of all published ones. Level 0 is that of the wavelet's patches of 4×4×4 pixels.
    """

    format_version: Literal[1] = 1
    architecture: Literal["cosmos-dv"] = "cosmos-dv"
    channels: Count = 128
    channel_multipliers: Annotated[tuple[Count, ...], Field(min_length=2)] = (2, 4, 4)
    """Of each level."""
    num_res_blocks: Count = 2
    """Per level of the encoder; the decoder has one more."""
    attention_levels: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Levels with attention after each residual block. The published models have none: their
    ``attn_resolutions`` names a resolution that no level has."""
    z_channels: Count = 16
    """Between the network and the projections around the quantizer."""
    levels: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (8, 8, 8, 5, 5, 5)
    """Values of each dimension of a code."""
    patch_px: Literal[8, 16]
    frames_per_token: Literal[4, 8]

    @model_validator(mode="after")
    def _has_levels_to_halve(self) -> Self:
        needed = max(self.num_space_steps, self.num_time_steps) + 1
        if len(self.channel_multipliers) < needed:
            raise ValueError(f"this compression needs {needed} channel_multipliers or more")
        return self

    @property
    def geometry(self) -> Geometry:
        """The clips that the tokenizer takes and the tokens that they become."""
        return Geometry(
            patch_px=(self.patch_px, self.patch_px),
            frames_per_token=self.frames_per_token,
            lead_frames=1,
            max_frames=1 + (MAX_TOKEN_ROWS - 1) * self.frames_per_token,
            code=Code.of_digits(self.levels),
            promises=("causal", "prefix", "streams"),
        )

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.channels * multiplier for multiplier in self.channel_multipliers)

    @property
    def num_space_steps(self) -> int:
        """How often the network halves height and width, after the wavelet."""
        return _steps(self.patch_px)

    @property
    def num_time_steps(self) -> int:
        """How often the network halves the number of frames, after the wavelet."""
        return _steps(self.frames_per_token)


class CosmosImageConfig(StrictModel):
    """Everything needed to build a Cosmos DI before loading its weights.

    The defaults are those of all published ones. Level 0 is that of the wavelet's patches of 4×4 pixels.
    """

    format_version: Literal[1] = 1
    architecture: Literal["cosmos-di"] = "cosmos-di"
    channels: Annotated[int, Field(ge=32, multiple_of=32)] = 128
    """Normalised in 32 groups."""
    channel_multipliers: Annotated[tuple[Count, ...], Field(min_length=2)] = (2, 4, 4)
    """Of each level."""
    num_res_blocks: Count = 2
    """Per level of the encoder; the decoder has one more."""
    z_channels: Count = 256
    """Between the network and the projections around the quantizer."""
    levels: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (8, 8, 8, 5, 5, 5)
    """Values of each dimension of a code."""
    patch_px: Literal[8, 16]

    @model_validator(mode="after")
    def _has_levels_to_halve(self) -> Self:
        if len(self.channel_multipliers) <= self.num_space_steps:
            raise ValueError(f"this compression needs {self.num_space_steps + 1} channel_multipliers or more")
        return self

    @property
    def geometry(self) -> Geometry:
        """The images that the tokenizer takes and the tokens that they become."""
        return Geometry(
            patch_px=(self.patch_px, self.patch_px), max_frames=1, code=Code.of_digits(self.levels)
        )

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.channels * multiplier for multiplier in self.channel_multipliers)

    @property
    def num_space_steps(self) -> int:
        """How often the network halves height and width, after the wavelet."""
        return _steps(self.patch_px)


def _steps(compression: int) -> int:
    return (compression // _WAVELET).bit_length() - 1
