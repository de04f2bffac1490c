"""What a published config file says of its model."""

from dataclasses import dataclass

from bitmill.schemas.models.any_tokenizer_config import PublishedConfig


@dataclass(frozen=True, kw_only=True)
class DescribedModel:
    """A model, and which of its file's weights the published code uses."""

    config: PublishedConfig
    averaged: bool = False
    """Whether those are the weights' averages."""
