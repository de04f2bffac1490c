"""The networks of the families with FSQ, by their configs."""

from bitmill.bsq_model.cosmos.network import CosmosNetwork
from bitmill.bsq_model.vidtok.network import VidTokNetwork
from bitmill.schemas.models.cosmos_config import CosmosVideoConfig
from bitmill.schemas.models.vidtok_config import VidTokConfig

FSQConfig = VidTokConfig | CosmosVideoConfig
FSQNetwork = VidTokNetwork | CosmosNetwork


def make_network(config: FSQConfig) -> FSQNetwork:
    """Return the network with random weights, in eval mode."""
    network = VidTokNetwork(config) if isinstance(config, VidTokConfig) else CosmosNetwork(config)
    return network.eval()
