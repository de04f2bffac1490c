"""The config.json of any tokenizer, by its ``architecture``."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag, TypeAdapter

from bitmill.schemas.models.bsq_vit_config import TokenizerConfig
from bitmill.schemas.models.causal_conv_config import CausalConvConfig
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config
from bitmill.schemas.models.plugin_config import PluginConfig
from bitmill.schemas.models.vidtok_config import VidTokConfig

PublishedConfig = (
    VidTokConfig | CosmosVideoConfig | CosmosImageConfig | Emu3Config | InfinityConfig | OpenMagvit2Config
)
"""Of the published families that run as ``bsq_model.published``."""

TrainableConfig = TokenizerConfig | CausalConvConfig
"""Of the families that ``bitmill train`` trains."""

TokenizerConfigOfAnyFamily = TrainableConfig | PublishedConfig | PluginConfig


def _architecture(config: Any) -> str:
    name = config.get("architecture") if isinstance(config, dict) else getattr(config, "architecture", None)
    return "bsq-vit" if name is None else str(name)


AnyTokenizerConfig = Annotated[
    Annotated[TokenizerConfig, Tag("bsq-vit")]
    | Annotated[CausalConvConfig, Tag("causal-conv")]
    | Annotated[VidTokConfig, Tag("vidtok")]
    | Annotated[CosmosVideoConfig, Tag("cosmos-dv")]
    | Annotated[CosmosImageConfig, Tag("cosmos-di")]
    | Annotated[Emu3Config, Tag("emu3")]
    | Annotated[InfinityConfig, Tag("infinity")]
    | Annotated[OpenMagvit2Config, Tag("open-magvit2")]
    | Annotated[PluginConfig, Tag("plugin")],
    Discriminator(_architecture),
]
"""A field of this type."""

AnyTrainableConfig = Annotated[
    Annotated[TokenizerConfig, Tag("bsq-vit")] | Annotated[CausalConvConfig, Tag("causal-conv")],
    Discriminator(_architecture),
]
"""A field of this type."""

any_tokenizer_config: TypeAdapter[TokenizerConfigOfAnyFamily] = TypeAdapter(AnyTokenizerConfig)
"""Validates a config by itself."""
