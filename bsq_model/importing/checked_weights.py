"""What every import checks of a file's tensors before it uses them."""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bitmill.bsq_model.importing.inert_pickle import SavedTensor
from bitmill.schemas.errors import FormatError


def tensors_of(state: dict[Any, Any], path: Path) -> dict[str, SavedTensor]:
    """Return a state dict. Raises FormatError if it is none, or empty."""
    wrong = [
        name
        for name, value in state.items()
        if not isinstance(name, str) or not isinstance(value, SavedTensor)
    ]
    if wrong or not state:
        what = f"its entry {reprlib.repr(wrong[0])} is not a tensor" if wrong else "it is empty"
        raise FormatError(f"{path} contains no state dict: {what}.")
    return dict(state)


def check_shapes(expected: Mapping[str, Tensor], found: Mapping[str, SavedTensor], path: Path | str) -> None:
    """Raise FormatError unless exactly these names are there, with these shapes."""
    missing = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    unknown = [f"{name} is unknown" for name in sorted(found.keys() - expected.keys())]
    other = [
        f"{name} is {list(found[name].shape)} instead of {list(expected[name].shape)}"
        for name in sorted(found.keys() & expected.keys())
        if found[name].shape != tuple(expected[name].shape)
    ]
    firsts = [problems[0] for problems in (missing, unknown, other) if problems]
    if firsts:
        num_more = len(missing) + len(unknown) + len(other) - len(firsts)
        more = f", and {num_more} more" if num_more else ""
        raise FormatError(
            f"The config does not fit {path}: {'; '.join(firsts)}{more}. Pass the one beside it."
        )


def loaded(name: str, saved: SavedTensor, path: Path | str) -> Tensor:
    """Return float32 values. Raises FormatError if they are no floats or not finite."""
    if not saved.storage.dtype.is_floating_point:
        raise FormatError(f"{path}: {name} contains {saved.storage.dtype} instead of floats.")
    tensor = saved.load().float()
    if not bool(torch.isfinite(tensor).all()):
        raise FormatError(f"{path}: {name} contains values that are not finite; use an earlier checkpoint.")
    return tensor
