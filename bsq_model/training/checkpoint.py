"""The state of a run in one safetensors file, written whole or not at all; nothing in it can execute."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bsq_model.training.optimizer import load_optimizer_tensors, optimizer_tensors
from bsq_model.training.step import TrainingStep
from schemas.errors import FormatError

_SUFFIX = ".safetensors"
_METADATA = "bitmill.training"
"""One key with JSON: safetensors stores several in no fixed order."""


def save_checkpoint(training: TrainingStep, steps_done: int, run_id: str, folder: Path) -> Path:
    """Write ``step-00001000.safetensors`` after ``steps_done`` steps; the same state gives the same bytes."""
    tensors: dict[str, Tensor] = {}
    for part, module in _modules(training).items():
        tensors |= {f"{part}/{name}": tensor for name, tensor in module.state_dict().items()}
    for part, (optimizers, module) in _optimizers(training).items():
        named = optimizer_tensors(optimizers, module)
        tensors |= {f"{part}/{name}": tensor for name, tensor in named.items()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{steps_done:08d}{_SUFFIX}"
    staged = folder / f".{path.name}.staged"
    safetensors.torch.save_file(
        tensors, staged, {_METADATA: json.dumps({"steps": steps_done, "run": run_id})}
    )
    staged.replace(path)
    return path


def load_checkpoint(training: TrainingStep, path: Path, run_id: str) -> int:
    """Set everything in ``training`` to a checkpoint's state; gives the steps done.

    Raises FormatError on a damaged file, one of another run, or one that does not fit the model.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise FormatError(
            f"The checkpoint {path} cannot be read ({error}); delete it to go on from the one before."
        ) from error
    if metadata.get("run") != run_id:
        raise FormatError(f"The checkpoint {path} belongs to another run.")
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor
    try:
        for part, module in _modules(training).items():
            module.load_state_dict(parts.get(part, {}))
    except RuntimeError as error:
        raise FormatError(f"The checkpoint {path} does not fit the model: {error}") from error
    for part, (optimizers, module) in _optimizers(training).items():
        load_optimizer_tensors(optimizers, module, parts.get(part, {}))
    return int(metadata["steps"])


def find_checkpoints(folder: Path) -> list[Path]:
    """A run's checkpoints, the oldest first."""
    return sorted(folder.glob(f"step-*{_SUFFIX}"))


def _modules(training: TrainingStep) -> dict[str, nn.Module]:
    modules: dict[str, nn.Module] = {"tokenizer": training.tokenizer, "average": training.average.tokenizer}
    if training.adversary is not None:
        modules["discriminator"] = training.adversary.discriminator
    return modules


def _optimizers(training: TrainingStep) -> dict[str, tuple[list[Optimizer], nn.Module]]:
    parts: dict[str, tuple[list[Optimizer], nn.Module]] = {
        "optimizer": (training.optimizers, training.tokenizer)
    }
    if training.adversary is not None:
        adversary = training.adversary
        parts["discriminator_optimizer"] = (adversary.optimizers, adversary.discriminator)
    return parts
