"""The config.json of Emu3's vision tokenizer: the sizes of its network (arXiv 2409.18869)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.strict_model import StrictModel

Count = Annotated[int, Field(ge=1)]


class Emu3Config(StrictModel):
    """Everything needed to build the tokenizer before loading its weights.

    The defaults are the published ones. Level 0 has the full resolution; each later one has half the height
    and width of the one before.
    """

    format_version: Literal[1] = 1
    architecture: Literal["emu3"] = "emu3"
    channels: Annotated[int, Field(ge=32, multiple_of=32)] = 256
    """At level 0. Normalised in 32 groups."""
    channel_multipliers: Annotated[tuple[Count, ...], Field(min_length=2)] = (1, 2, 2, 4)
    """Of each level."""
    num_res_blocks: Count = 2
    """Per level of the encoder, where the decoder has one more, and in time."""
    attention_levels: tuple[Annotated[int, Field(ge=0)], ...] = (3,)
    """Levels with attention after each residual block."""
    frames_per_token: Literal[4] = 4
    latent_channels: Count = 4
    """Of the latents and of the codebook's rows."""
    codebook_size: Annotated[int, Field(ge=2)] = 32768
    """K: rows of the codebook."""

    @model_validator(mode="after")
    def _has_the_levels(self) -> Self:
        last = len(self.channel_multipliers) - 1
        if max(self.attention_levels, default=0) > last:
            raise ValueError(f"attention_levels {list(self.attention_levels)} go beyond level {last}")
        return self

    @property
    def geometry(self) -> Geometry:
        """The clips that the tokenizer takes and the tokens that they become."""
        patch_px = 2 ** (len(self.channel_multipliers) - 1)
        return Geometry(
            patch_px=(patch_px, patch_px),
            frames_per_token=self.frames_per_token,
            code=Code.of_index(self.codebook_size),
            promises=("causal", "prefix", "streams"),
        )

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.channels * multiplier for multiplier in self.channel_multipliers)

    @property
    def num_time_steps(self) -> int:
        """How often the number of frames is halved."""
        return self.frames_per_token.bit_length() - 1
