"""Loads the networks from one safetensors file each, in a folder of the user's cache."""

from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from bitmill.bsq_model.networks.efficientnet import EfficientNetLite0
from bitmill.bsq_model.networks.i3d import I3D
from bitmill.bsq_model.networks.lpips import LPIPS
from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.nearest_name import did_you_mean

NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "lpips-alexnet": LPIPS,
    "lpips-vgg16": lambda: LPIPS("vgg16"),
    "efficientnet-lite0": EfficientNetLite0,
    "i3d-kinetics400": I3D,
}
"""Constructors by network name."""


def load_network(folder: Path, name: str) -> nn.Module:
    """Load the network from ``<folder>/<name>.safetensors``: float32 on CPU, frozen, in eval mode.

    Raises UsageError if the file is missing, FormatError if it is not that network.
    """
    if name not in NETWORKS:
        near = did_you_mean(name, NETWORKS)
        raise UsageError(f"unknown network {name!r}{near}; the networks are {', '.join(sorted(NETWORKS))}")
    path = folder / f"{name}.safetensors"
    network = NETWORKS[name]()
    try:
        network.load_state_dict(safetensors.torch.load_file(path))
    except FileNotFoundError as error:
        raise UsageError(
            f"The network {name} is not in {folder}; fetch it once: bitmill weights fetch {name}"
        ) from error
    except (SafetensorError, RuntimeError) as error:
        raise FormatError(
            f"{path} is damaged or another network ({error}); delete it and fetch it again: "
            f"bitmill weights fetch {name}"
        ) from error
    return network.requires_grad_(False).eval()
