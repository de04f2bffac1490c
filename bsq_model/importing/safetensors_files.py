"""Reads safetensors files as tensors that are loaded on demand."""

from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from bitmill.bsq_model.importing.inert_pickle import SavedTensor, Storage
from bitmill.schemas.errors import FormatError, UsageError


def read_safetensors(path: Path) -> dict[str, SavedTensor]:
    """Return the tensors by name. Raises UsageError if the file is missing, FormatError if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: _saved(path, name, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise FormatError(f"{path} is damaged or no safetensors file: {error}.") from error


def _saved(path: Path, name: str, tensor: torch.Tensor) -> SavedTensor:
    storage = Storage(key=name, dtype=tensor.dtype, numel=tensor.numel(), read=partial(_bytes, path, name))
    return SavedTensor(storage=storage, offset=0, shape=tuple(tensor.shape), stride=tensor.stride())


def _bytes(path: Path, name: str) -> bytes:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name).contiguous().view(-1).view(torch.uint8).numpy().tobytes()
