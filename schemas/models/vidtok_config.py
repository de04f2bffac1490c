"""The config.json of a VidTok tokenizer: sizes and the version of its network (arXiv 2412.13061)."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from bitmill.schemas.models.geometry import Code, Geometry
from bitmill.schemas.strict_model import StrictModel

Count = Annotated[int, Field(ge=1)]


Norm = Literal["layer", "group"]
NORM_GROUPS = 32


class VidTokConfig(StrictModel):
    """Everything needed to build a causal VidTok with FSQ before loading its weights.

    The defaults are those of the published 4×8×8 models. Level 0 has the full resolution; each later one has
    half the height and width of the one before.
    """

    format_version: Literal[1] = 1
    architecture: Literal["vidtok"] = "vidtok"
    version: Literal["1.0", "1.1"]
    """1.0 puts zeros before a clip and repeats frames to decode; 1.1 its first frame, and interpolates."""
    channels: Count = 128
    """At level 0."""
    channel_multipliers: Annotated[tuple[Count, ...], Field(min_length=2)] = (1, 2, 4, 4)
    """Of each level."""
    num_res_blocks: Count = 2
    """Per level of the encoder; the decoder has one more."""
    frames_per_token: Literal[4, 8] = 4
    norm: Norm = "layer"
    """layer: over the channels of each position; group: in 32 groups of channels, over each frame."""
    levels: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)]
    """Values of each dimension of a code."""

    @model_validator(mode="after")
    def _has_levels_and_groups(self) -> Self:
        if self.num_time_steps >= len(self.channel_multipliers):
            raise ValueError(
                f"frames_per_token {self.frames_per_token} needs more than {self.num_time_steps} "
                f"channel_multipliers, not {len(self.channel_multipliers)}"
            )
        if self.norm == "group" and self.channels % NORM_GROUPS:
            raise ValueError(f"norm group needs channels that are a multiple of {NORM_GROUPS}")
        return self

    @model_serializer(mode="wrap")
    def _without_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit the norm of published models, so that files and fingerprints match older releases."""
        document: dict[str, Any] = handler(self)
        if self.norm == "layer":
            del document["norm"]
        return document

    @property
    def geometry(self) -> Geometry:
        """The clips that the tokenizer takes and the tokens that they become."""
        patch_px = 2 ** (len(self.channel_multipliers) - 1)
        return Geometry(
            patch_px=(patch_px, patch_px),
            frames_per_token=self.frames_per_token,
            lead_frames=1,
            code=Code.of_digits(self.levels),
            promises=("causal", "prefix", "streams"),
        )

    @property
    def time_pad(self) -> Literal["zeros", "first"]:
        """What precedes a clip in every causal convolution: zeros, or the first frame repeated."""
        return "zeros" if self.version == "1.0" else "first"

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.channels * multiplier for multiplier in self.channel_multipliers)

    @property
    def num_time_steps(self) -> int:
        """How often the number of frames is halved."""
        return self.frames_per_token.bit_length() - 1
