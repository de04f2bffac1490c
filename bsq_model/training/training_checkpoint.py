"""Writes and reads checkpoints of a tokenizer's training run, atomically; reading one executes nothing."""

from collections.abc import Collection
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from bitmill.bsq_model.training.data_parallel import num_processes
from bitmill.bsq_model.training.optimizer import load_optimizer_tensors, optimizer_tensors
from bitmill.bsq_model.training.state_file import read_state, set_modules, write_state
from bitmill.bsq_model.training.training_step import TrainingStep

_SUFFIX = ".safetensors"
_METADATA = "bitmill.training"
_SUMS = "sums"


def save_checkpoint(training: TrainingStep, steps_done: int, run_id: str, folder: Path) -> Path:
    """Write ``step-00001000.safetensors`` after ``steps_done`` steps; the same state gives the same bytes."""
    parts = {part: module.state_dict() for part, module in _modules(training).items()}
    for part, (optimizers, module) in _optimizers(training).items():
        parts[part] = optimizer_tensors(optimizers, module)
    # Those of other processes are not known here: their next row is of the steps since the checkpoint.
    sums, counts = (training.window.sums, training.window.counts) if num_processes() == 1 else ({}, {})
    parts[_SUMS] = sums
    path = folder / f"step-{steps_done:08d}{_SUFFIX}"
    state = {"steps": steps_done, "run": run_id, "counts": counts}
    write_state(path, _METADATA, parts, state)
    return path


def load_checkpoint(training: TrainingStep, path: Path, run_ids: Collection[str]) -> int:
    """Restore ``training`` from a checkpoint; returns the number of steps done.

    Raises FormatError if the file is damaged, of another run, or does not fit the model.
    """
    parts, state = read_state(path, _METADATA, run_ids)
    set_modules(_modules(training), parts, path)
    for part, (optimizers, module) in _optimizers(training).items():
        load_optimizer_tensors(optimizers, module, parts.get(part, {}))
    training.window.sums, training.window.counts = parts.get(_SUMS, {}), state.get("counts", {})
    return int(state["steps"])


def find_checkpoints(folder: Path) -> list[Path]:
    """Return a run's checkpoints, oldest first."""
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
