"""config.json of token models: sizes and the tokenizer's fingerprint, without training settings."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import MAX_BITS_PER_TOKEN, Geometry
from bitmill.schemas.strict_model import StrictModel

TOKEN_MODEL_FORMAT_VERSION = 1

Count = Annotated[int, Field(ge=1)]
HEAD_DIM = 32
"""Features of an attention head; its 16 pairs are rotated by time, height and width."""


class TokenModelSizes(StrictModel):
    """The settings that users choose for any token model."""

    group_bits: Annotated[int, Field(ge=1, le=12)] = 9
    """g: bits predicted at once, as one of 2^g values; divides the tokenizer's bits per token."""
    width: Count = 256
    """Features per token; a multiple of 32, the size of a head."""
    layers: Count = 5
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % HEAD_DIM:
            raise ValueError(f"width {self.width} is not a multiple of {HEAD_DIM}")
        return self


class PriorSizes(TokenModelSizes):
    """An autoregressive prior: predicts each group from all groups before it."""

    kind: Literal["prior"]
    window_frames: Count = 4
    """Frames that attention covers, including the current one; limits memory and work, not clip length."""


class MaskedLMSizes(TokenModelSizes):
    """A masked language model: predicts hidden groups from shown ones."""

    kind: Literal["masked-lm"]
    labels: tuple[str, ...] = ()
    """Classes of pictures, as in the key ``label`` of a clip's metadata; other values count as no label."""


class TokensKnown(TokenModelSizes):
    """The tokens that a model was trained on."""

    format_version: Literal[1] = TOKEN_MODEL_FORMAT_VERSION
    tokenizer_fingerprint: str
    """The tokenizer of these tokens; the model cannot interpret those of another."""
    bits_per_token: Annotated[int, Field(ge=1, le=MAX_BITS_PER_TOKEN)]

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        if self.bits_per_token % self.group_bits:
            raise ValueError(f"bits_per_token {self.bits_per_token} is not a multiple of {self.group_bits}")
        return self

    @property
    def num_groups(self) -> int:
        """G: groups per token."""
        return self.bits_per_token // self.group_bits


class PriorConfig(TokensKnown, PriorSizes):
    """A prior's config.json."""


class MaskedLMConfig(TokensKnown, MaskedLMSizes):
    """A masked language model's config.json."""


TokenModelConfig = PriorConfig | MaskedLMConfig

_CONFIGS: TypeAdapter[TokenModelConfig] = TypeAdapter(
    Annotated[TokenModelConfig, Field(discriminator="kind")]
)


def check_tokens(geometry: Geometry) -> None:
    """Raise UsageError unless these are tokens for a token model: grids of independent bits."""
    if geometry.code.kind != "bits" or geometry.layout != "grid":
        what = "pyramids" if geometry.layout != "grid" else f"of kind {geometry.code.kind}"
        raise UsageError(
            f"A prior or masked model predicts bits on a grid, and these tokens are {what}; train it on "
            "bits, as BSQ-ViT's tokens are."
        )


def token_model_config(document: Any) -> TokenModelConfig:
    """Parse a config by its ``kind``; raises pydantic's ValidationError if it is invalid."""
    return _CONFIGS.validate_python(document)
