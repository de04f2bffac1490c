"""config.json of models over tokens: sizes, and whose tokens they know; nothing about training."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

TOKEN_MODEL_FORMAT_VERSION = 1

Count = Annotated[int, Field(ge=1)]
HEAD_DIM = 32
"""Features of an attention head; its 16 pairs are turned by time, height and width."""


class TokenModelSizes(BaseModel):
    """What a person chooses of any model over tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group_bits: Annotated[int, Field(ge=1, le=12)] = 9
    """g: bits predicted at once, as one of 2^g values; divides the tokenizer's bits a token."""
    width: Count = 256
    """Features a token; a multiple of 32, the size of a head."""
    layers: Count = 5
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % HEAD_DIM:
            raise ValueError(f"width {self.width} is no multiple of {HEAD_DIM}")
        return self


class PriorSizes(TokenModelSizes):
    """An autoregressive prior: each group from all before it."""

    kind: Literal["prior"]
    window_frames: Count = 4
    """Frames that attention sees, the current one among them; bounds memory and work, not clips."""


class MaskedLMSizes(TokenModelSizes):
    """A masked language model: hidden groups from those that are shown."""

    kind: Literal["masked-lm"]
    labels: tuple[str, ...] = ()
    """Kinds of pictures, each as the key ``label`` of a clip's metadata says it; others count as no kind."""


class TokensKnown(TokenModelSizes):
    """What a model was trained on."""

    format_version: Literal[1] = TOKEN_MODEL_FORMAT_VERSION
    tokenizer_fingerprint: str
    """Whose tokens they were; those of another mean nothing to it."""
    bits_per_token: Annotated[int, Field(ge=1, le=64)]

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        if self.bits_per_token % self.group_bits:
            raise ValueError(f"bits_per_token {self.bits_per_token} is no multiple of {self.group_bits}")
        return self

    @property
    def num_groups(self) -> int:
        """G: groups of a token."""
        return self.bits_per_token // self.group_bits


class PriorConfig(TokensKnown, PriorSizes):
    """A prior's config.json."""


class MaskedLMConfig(TokensKnown, MaskedLMSizes):
    """A masked language model's config.json."""


TokenModelConfig = PriorConfig | MaskedLMConfig

_CONFIGS: TypeAdapter[TokenModelConfig] = TypeAdapter(
    Annotated[TokenModelConfig, Field(discriminator="kind")]
)


def token_model_config(document: Any) -> TokenModelConfig:
    """The config of the kind that ``document`` names; pydantic's ValidationError where it is none."""
    return _CONFIGS.validate_python(document)
