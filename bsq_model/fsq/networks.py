"""The networks of the families with FSQ, by their configs."""

import torch
from torch import nn

from bitmill.bsq_model.cosmos.image_network import CosmosImageNetwork
from bitmill.bsq_model.cosmos.network import CosmosNetwork
from bitmill.bsq_model.vidtok.network import VidTokNetwork
from bitmill.schemas.models.any_tokenizer_config import FSQConfig
from bitmill.schemas.models.cosmos_config import CosmosImageConfig, CosmosVideoConfig
from bitmill.schemas.models.vidtok_config import VidTokConfig

FSQNetwork = VidTokNetwork | CosmosNetwork | CosmosImageNetwork


def make_network(config: FSQConfig) -> FSQNetwork:
    """Return the network with random weights, in eval mode."""
    network = _network(config).eval()
    lay_out_weights(network)
    return network


@torch.no_grad()
def lay_out_weights(network: nn.Module) -> None:
    """Order the weights of convolutions in memory as they are read; shapes and values stay the same.

    Each of 3 frames' weights together, those in space by position before channel: else every call copies them.
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            continue
        weight = module.weight
        if isinstance(module, nn.Conv1d) or weight[0, 0, 0].numel() == 1:
            weight.data = weight.data.movedim(2, 0).contiguous().movedim(0, 2)
        else:
            is_flat = isinstance(module, nn.Conv2d)
            last = torch.channels_last if is_flat else torch.channels_last_3d
            weight.data = weight.data.contiguous(memory_format=last)


def _network(config: FSQConfig) -> FSQNetwork:
    match config:
        case VidTokConfig():
            return VidTokNetwork(config)
        case CosmosVideoConfig():
            return CosmosNetwork(config)
        case CosmosImageConfig():
            return CosmosImageNetwork(config)
