"""Writes and reads checkpoints of a token model's training."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from bitmill.bsq_model.training.optimizer import load_optimizer_tensors, optimizer_tensors
from bitmill.bsq_model.training.state_file import read_state, set_modules, write_state

_METADATA = "bitmill.token_training"


def save_token_checkpoint(
    path: Path, modules: dict[str, nn.Module], optimizers: list[Optimizer], state: dict[str, Any]
) -> None:
    """Write each module's weights, the first one's optimizer state, and ``state`` as JSON.

    Equal states give equal bytes.
    """
    parts = {part: module.state_dict() for part, module in modules.items()}
    parts["optimizer"] = optimizer_tensors(optimizers, next(iter(modules.values())))
    write_state(path, _METADATA, parts, state)


def load_token_checkpoint(
    path: Path, modules: dict[str, nn.Module], optimizers: list[Optimizer], runs: Collection[str]
) -> dict[str, Any]:
    """Restore modules and optimizers from a checkpoint; return its JSON state.

    Raises FormatError if the file is damaged, of another run, or does not fit the model.
    """
    parts, state = read_state(path, _METADATA, runs)
    set_modules(modules, parts, path)
    load_optimizer_tensors(optimizers, next(iter(modules.values())), parts.get("optimizer", {}))
    return state
