"""The config.json of an Open-MAGVIT2 tokenizer of images: the sizes of its network (arXiv 2409.04410)."""

from typing import Annotated, Literal

from pydantic import Field

from bitmill.schemas.models.geometry import MAX_INDEX_BITS, Code, Geometry
from bitmill.schemas.strict_model import StrictModel

Count = Annotated[int, Field(ge=1)]


class OpenMagvit2Config(StrictModel):
    """Everything needed to build an Open-MAGVIT2 before loading its weights."""

    format_version: Literal[1] = 1
    architecture: Literal["open-magvit2"] = "open-magvit2"
    channels: Annotated[int, Field(ge=32, multiple_of=32)] = 128
    """Normalised in 32 groups."""
    channel_multipliers: Annotated[tuple[Count, ...], Field(min_length=2)] = (1, 1, 2, 2, 4)
    """Of each level; every one but the deepest halves height and width."""
    num_res_blocks: Count = 4
    """Per level, and between the encoder's and the decoder's levels."""
    bits_per_token: Annotated[int, Field(ge=1, le=MAX_INDEX_BITS)]

    @property
    def geometry(self) -> Geometry:
        """The images that the tokenizer takes and the tokens that they become."""
        side = 1 << (len(self.channel_multipliers) - 1)
        return Geometry(
            patch_px=(side, side), max_frames=1, code=Code.of_bits(self.bits_per_token, first="least")
        )

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.channels * multiplier for multiplier in self.channel_multipliers)
