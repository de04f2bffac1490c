"""The networks of the families with FSQ, by their configs."""

from bitmill.bsq_model.cosmos.image_network import CosmosImageNetwork
from bitmill.bsq_model.cosmos.network import CosmosNetwork
from bitmill.bsq_model.vidtok.network import VidTokNetwork
from bitmill.schemas.models.any_tokenizer_config import FSQConfig
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.vidtok_config import VidTokConfig

FSQNetwork = VidTokNetwork | CosmosNetwork | CosmosImageNetwork


def make_network(config: FSQConfig) -> FSQNetwork:
    """Return the network with random weights, in eval mode."""
    return _network(config).eval()


def _network(config: FSQConfig) -> FSQNetwork:
    match config:
        case VidTokConfig():
            return VidTokNetwork(config)
        case CosmosVideoConfig():
            return CosmosNetwork(config)
        case CosmosImageConfig():
            return CosmosImageNetwork(config)
