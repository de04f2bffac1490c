"""Loads the networks of perceptual metrics from the user's cache."""

import os
from pathlib import Path
from typing import Any

from bitmill.bsq_model.networks.network_files import load_network
from bitmill.pipeline.evaluation.running_scores import MetricNetworks
from bitmill.schemas.errors import UsageError


def find_metric_networks(
    inception: Path | None, *, with_fvd: bool = True
) -> tuple[MetricNetworks, list[str]]:
    """Returns the cached networks, and per missing one a sentence that says how to get it."""
    folder, left_out = networks_folder(), list[str]()

    def find(name: str, metric: str) -> Any:
        try:
            return load_network(folder, name)
        except UsageError:
            left_out.append(f"{metric}: fetch its network once with `bitmill weights fetch {name}`")
            return None

    lpips, efficientnet = find("lpips-alexnet", "LPIPS"), find("efficientnet-lite0", "FD-EffNetLite0")
    i3d = find("i3d-kinetics400", "FVD") if with_fvd else None
    features: dict[str, Any] = {}
    class_logits = None
    if efficientnet is not None:
        features["fd_effnetlite0"] = efficientnet.features
    if inception is not None:
        from bitmill.bsq_model.networks.inception import load_inception

        network = load_inception(inception)
        features["fid"], class_logits = network.features, network.class_logits
    else:
        left_out.append("FID: name the Inception file with --inception")
    clip_features = i3d.features if i3d is not None else None
    metric_networks = MetricNetworks(
        lpips=lpips, frame_features=features, clip_features=clip_features, class_logits=class_logits
    )
    return metric_networks, left_out


def find_lpips() -> Any:
    """Returns the LPIPS network from the user's cache, or None if it was not fetched."""
    try:
        return load_network(networks_folder(), "lpips-alexnet")
    except UsageError:
        return None


def networks_folder() -> Path:
    """Returns the folder of fetched networks: BITMILL_NETWORKS, or bitmill/networks in the user's cache."""
    given = os.environ.get("BITMILL_NETWORKS")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "bitmill" / "networks"
