"""Makes a module's optimizers, and converts their state to named tensors and back."""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bitmill.schemas.errors import FormatError, UsageError
from bitmill.schemas.requests.training import OptimizerSpec

_RATE_SCALE = "rate_scale"
_BLOCK = re.compile(r"\.(blocks|frame_block)\.")


def make_optimizers(module: nn.Module, spec: OptimizerSpec) -> list[Optimizer]:
    """Return AdamW for everything, or Muon for matrices inside blocks and AdamW for the rest.

    Only weights of linear and convolutional layers decay. ``step_all`` sets the learning rates.
    """
    hidden: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if spec.name == "muon" and _BLOCK.search(name) and parameter.ndim == 2:
            hidden.append(parameter)
        elif parameter.ndim > 1 and not name.endswith("positions"):
            decayed.append(parameter)
        else:
            others.append(parameter)
    groups = [{"params": decayed, "weight_decay": spec.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizers: list[Optimizer] = [torch.optim.AdamW(groups, lr=0.0, betas=spec.betas, fused=True)]
    if hidden:
        # Muon scales its updates to the size of AdamW's, so a similar learning rate fits (arXiv 2502.16982).
        group = {"params": hidden, _RATE_SCALE: spec.muon_scale}
        optimizers.append(
            torch.optim.Muon([group], lr=0.0, weight_decay=spec.weight_decay, adjust_lr_fn="match_rms_adamw")
        )
    return optimizers


def clip_gradients(module: nn.Module, limit: float | None, *, loss: Tensor, step: int) -> Tensor:
    """Scale a module's gradients to a norm of at most ``limit``; return the norm that they had.

    Raises UsageError if it, or the loss, is not finite: call it before any weight changes.
    """
    norm = nn.utils.clip_grad_norm_(list(module.parameters()), float("inf") if limit is None else limit)
    if not bool(torch.isfinite(norm) & torch.isfinite(loss)):
        raise UsageError(
            f"The loss is no longer finite at step {step} (loss {loss.item()}, gradient norm "
            f"{norm.item()}); lower optimizer.learning_rate, or continue in float32."
        )
    return norm


def step_all(optimizers: list[Optimizer], rate: float) -> None:
    """Update all weights that have gradients, then drop the gradients."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get(_RATE_SCALE, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def optimizer_tensors(optimizers: list[Optimizer], module: nn.Module) -> dict[str, Tensor]:
    """Return moments and step counts of all weights that have any, named ``exp_avg.<weight's name>`` etc."""
    return {
        f"{key}.{name}": value.detach().clone()
        for name, parameter, optimizer in _owned(optimizers, module)
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_tensors(
    optimizers: list[Optimizer], module: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Restore what ``optimizer_tensors`` returned. Raises FormatError if a tensor fits no weight."""
    by_weight: dict[str, dict[str, Tensor]] = {}
    for full, tensor in tensors.items():
        key, _, name = full.partition(".")
        by_weight.setdefault(name, {})[key] = tensor
    for name, parameter, optimizer in _owned(optimizers, module):
        state = by_weight.pop(name, {})
        for key, tensor in state.items():
            if key != "step" and tensor.shape != parameter.shape:
                raise FormatError(f"the checkpoint's optimizer state {key} of {name} does not fit the model")
        if state:
            # Fused AdamW needs its step count on the weights' device as well.
            optimizer.state[parameter] = {
                key: tensor.to(parameter.device).clone() for key, tensor in state.items()
            }
    if by_weight:
        raise FormatError(f"the checkpoint's optimizer state of {min(by_weight)} belongs to no weight")


def _owned(optimizers: list[Optimizer], module: nn.Module) -> Iterator[tuple[str, nn.Parameter, Optimizer]]:
    """Yield each weight with the optimizer that updates it."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                yield names[parameter], parameter, optimizer
