"""config.json of token models: sizes and the tokenizer's fingerprint, without training settings."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)

from bitmill.schemas.errors import UsageError
from bitmill.schemas.models.geometry import MAX_BITS_PER_TOKEN, Code, Geometry
from bitmill.schemas.strict_model import StrictModel

TOKEN_MODEL_FORMAT_VERSION = 1

Count = Annotated[int, Field(ge=1)]
MOST_LEVELS = 4096
"""Of a digit; a group of bits has as many values at most."""
HEAD_DIM = 32
"""Features of an attention head; its 16 pairs are rotated by time, height and width."""


class TokenModelSizes(StrictModel):
    """The settings that users choose for any token model."""

    group_bits: Annotated[int, Field(ge=1, le=12)] = 9
    """g: bits predicted at once, as one of 2^g values; divides the tokenizer's bits per token. Digits are
    predicted one by one."""
    width: Count = 256
    """Features per token; a multiple of 32, the size of a head."""
    layers: Count = 5
    mlp_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0

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
    levels: tuple[Annotated[int, Field(ge=2, le=MOST_LEVELS)], ...] | None = None
    """Of digits: the number of values of each; not in the file of a model of bits."""

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        if self.levels is None and self.bits_per_token % self.group_bits:
            raise ValueError(f"bits_per_token {self.bits_per_token} is not a multiple of {self.group_bits}")
        if self.levels is not None and self.group_bits != 1:
            raise ValueError("group_bits is for bits; digits are predicted one by one")
        return self

    @model_serializer(mode="wrap")
    def _without_null(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit ``levels`` of bits, so that files and fingerprints match older releases."""
        document: dict[str, Any] = handler(self)
        if self.levels is None:
            del document["levels"]
        return document

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Number of values of each group: of g bits, or of a digit."""
        return self.levels or (1 << self.group_bits,) * (self.bits_per_token // self.group_bits)

    @property
    def num_groups(self) -> int:
        """G: groups per token."""
        return len(self.group_sizes)

    @property
    def value_bits(self) -> int:
        """Bits that tell the values of any group apart."""
        return (max(self.group_sizes) - 1).bit_length()

    @property
    def dimensions(self) -> int:
        """D of a code: its bits or digits."""
        return self.bits_per_token if self.levels is None else len(self.levels)


class PriorConfig(TokensKnown, PriorSizes):
    """A prior's config.json."""


class MaskedLMConfig(TokensKnown, MaskedLMSizes):
    """A masked language model's config.json."""


TokenModelConfig = PriorConfig | MaskedLMConfig

_CONFIGS: TypeAdapter[TokenModelConfig] = TypeAdapter(
    Annotated[TokenModelConfig, Field(discriminator="kind")]
)


def check_tokens(geometry: Geometry) -> None:
    """Raise UsageError unless these are tokens for a token model: grids of bits or digits."""
    code = geometry.code
    if code.kind == "index" or geometry.layout != "grid":
        what = "pyramids" if geometry.layout != "grid" else f"of kind {code.kind}"
        raise UsageError(
            f"A prior or masked model predicts bits or digits on a grid, and these tokens are {what}; train "
            "it on tokens of BSQ-ViT, VidTok or Cosmos, or of a plugin with such codes."
        )


def token_fields(code: Code, sizes: TokenModelSizes) -> dict[str, Any]:
    """Return the fields of a config that describe codes. Raises ValueError if the sizes do not fit them."""
    fields = {**sizes.model_dump(), "bits_per_token": code.bits_per_token}
    if code.levels is None:
        return fields
    if "group_bits" in sizes.model_fields_set:
        raise ValueError("group_bits is for bits, and these tokens are digits; leave it out")
    return fields | {"levels": code.levels, "group_bits": 1}


def token_model_config(document: Any) -> TokenModelConfig:
    """Parse a config by its ``kind``; raises pydantic's ValidationError if it is invalid."""
    return _CONFIGS.validate_python(document)
