"""Stores a training state in one safetensors file: tensors of named parts, and JSON; executes nothing."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from bitmill.schemas.errors import FormatError
from bitmill.schemas.staged_file import staged

Parts = Mapping[str, Mapping[str, Tensor]]
"""Tensors by part (``tokenizer``, ``optimizer``) and name within the part."""


def write_state(path: Path, key: str, parts: Parts, state: dict[str, Any]) -> None:
    """Write the file atomically; equal states give equal bytes.

    ``state`` is JSON under a single metadata ``key``, because safetensors does not fix the order of several.
    """
    tensors = {
        f"{part}/{name}": tensor.detach().cpu().contiguous().clone()
        for part, named in parts.items()
        for name, tensor in named.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged(path) as beside:
        safetensors.torch.save_file(tensors, beside, {key: json.dumps(state, sort_keys=True)})


def read_state(
    path: Path, key: str, runs: Collection[str]
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return parts and state as written. Raises FormatError if the file is damaged or of none of ``runs``."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            state: dict[str, Any] = json.loads((file.metadata() or {}).get(key, "{}"))
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise FormatError(
            f"The checkpoint {path} cannot be read ({error}); delete it to resume from the previous one."
        ) from error
    if state.get("run") not in runs:
        raise FormatError(f"The checkpoint {path} belongs to another run.")
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor
    return parts, state


def set_modules(modules: Mapping[str, nn.Module], parts: Parts, path: Path) -> None:
    """Load each module's part. Raises FormatError if the file is of another model."""
    try:
        for part, module in modules.items():
            module.load_state_dict(parts.get(part, {}))
    except RuntimeError as error:
        raise FormatError(f"The checkpoint {path} does not fit the model: {error}") from error
