"""The config.json of an Infinity tokenizer: its network's sizes and those of images (arXiv 2412.04431)."""

from collections import Counter
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bitmill.schemas.models.geometry import MAX_BITS_PER_TOKEN, Code, Geometry, Grid, grid_name
from bitmill.schemas.strict_model import StrictModel

Count = Annotated[int, Field(ge=1)]
Schedule = Annotated[str, Field(pattern=r"^[1-9]\d*x[1-9]\d*( [1-9]\d*x[1-9]\d*)*$")]
"""The grids of a pyramid, height×width, the full one last: ``1x1 2x2 4x4``."""


class InfinityConfig(StrictModel):
    """Everything needed to build an Infinity tokenizer before loading its weights.

    Level 0 has the full resolution; each later one has half the height and width of the one before.
    """

    format_version: Literal[1] = 1
    architecture: Literal["infinity"] = "infinity"
    channels: Count = 128
    """Of the first convolution."""
    channel_multipliers: Annotated[tuple[Count, ...], Field(min_length=2)] = (1, 2, 4, 4, 4)
    """Of each level; the published models of 8 pixels a token have the first four."""
    num_res_blocks: Count = 2
    """Per level of the encoder; the decoder has one more."""
    bits_per_token: Annotated[int, Field(ge=1, le=MAX_BITS_PER_TOKEN)]
    """Of each position of each scale."""
    schedules: Annotated[tuple[Schedule, ...], Field(min_length=1)]
    """Of the images that the tokenizer takes, one for each size."""

    @model_validator(mode="after")
    def _has_groups_and_sizes(self) -> Self:
        channels = (self.channels, *self.level_channels)
        ungrouped = [count for count in channels if count % 32 and count % 24]
        if ungrouped:
            raise ValueError(f"levels have a multiple of 32 or of 24 channels, not {ungrouped[0]}")
        twice = [name for name, count in Counter(map(_full, self.schedules)).items() if count > 1]
        if twice:
            raise ValueError(f"there is more than one schedule of {twice[0]}")
        return self

    @cached_property
    def geometry(self) -> Geometry:
        """The images that the tokenizer takes and the tokens that they become."""
        patch_px = 2**self.num_space_steps
        return Geometry(
            layout="pyramid",
            patch_px=(patch_px, patch_px),
            max_frames=1,
            schedules={_full(schedule): _grids(schedule) for schedule in self.schedules},
            code=Code.of_bits(self.bits_per_token),
        )

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.channels * multiplier for multiplier in self.channel_multipliers)

    @property
    def num_space_steps(self) -> int:
        """How often height and width are halved."""
        return len(self.channel_multipliers) - 1


def _full(schedule: str) -> str:
    return grid_name(*_grids(schedule)[-1][1:])


def _grids(schedule: str) -> tuple[Grid, ...]:
    sides = (grid.split("x") for grid in schedule.split())
    return tuple((1, int(height), int(width)) for height, width in sides)
