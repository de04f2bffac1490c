"""The networks of the published families, by their configs."""

import torch
from torch import nn

from bitmill.bsq_model.cosmos.image_network import CosmosImageNetwork
from bitmill.bsq_model.cosmos.network import CosmosNetwork
from bitmill.bsq_model.emu3.network import Emu3Network
from bitmill.bsq_model.infinity.network import InfinityNetwork
from bitmill.bsq_model.open_magvit2.network import OpenMagvit2Network
from bitmill.bsq_model.vidtok.network import VidTokNetwork
from bitmill.schemas.models.any_tokenizer_config import PublishedConfig
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.emu3_config import Emu3Config
from bitmill.schemas.models.infinity.config import InfinityConfig
from bitmill.schemas.models.open_magvit2_config import OpenMagvit2Config
from bitmill.schemas.models.vidtok_config import VidTokConfig

PublishedNetwork = (
    VidTokNetwork | CosmosNetwork | CosmosImageNetwork | Emu3Network | InfinityNetwork | OpenMagvit2Network
)


def make_network(config: PublishedConfig) -> PublishedNetwork:
    """Return the network with random weights, in eval mode."""
    network = _network(config).eval()
    lay_out_weights(network)
    return network


@torch.no_grad()
def lay_out_weights(network: nn.Module) -> None:
    """Order the weights of convolutions in memory as they are read; shapes and values stay the same.

    Frames before outputs before positions before input channels: else every call copies them.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        elif isinstance(module, nn.Conv1d | nn.Conv3d):
            # 3 E C, or 3 E k k C
            ordered = module.weight.data.movedim((2, 1), (0, -1)).contiguous()
            module.weight.data = ordered.movedim((0, -1), (2, 1))


def _network(config: PublishedConfig) -> PublishedNetwork:
    match config:
        case VidTokConfig():
            return VidTokNetwork(config)
        case CosmosVideoConfig():
            return CosmosNetwork(config)
        case CosmosImageConfig():
            return CosmosImageNetwork(config)
        case InfinityConfig():
            return InfinityNetwork(config)
        case Emu3Config():
            return Emu3Network(config)
        case OpenMagvit2Config():
            return OpenMagvit2Network(config)
